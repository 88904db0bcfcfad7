internal import CHeraldLog

/// What a log has counted since its start, and what it holds.
public struct LogStatistics: Sendable, Hashable {
    /// The number of events it keeps.
    public var retainedEvents: UInt64 = 0
    /// Their bytes, as they are charged.
    public var retainedBytes: UInt64 = 0
    /// The events that it let go of, by reason.
    public var evicted = EvictionCounts()
    /// The number of topics it knows.
    public var topics: UInt64 = 0
    /// The number of distinct filters that have readers.
    public var filters: UInt64 = 0

    /// Makes statistics of a log in which nothing has happened.
    public init() {}

    init(_ core: hr_log_stats) {
        retainedEvents = core.retained_count
        retainedBytes = core.retained_bytes
        topics = core.topic_count
        filters = core.filter_count
        let counts = core.evicted_count
        evicted = EvictionCounts(
            count: counts.0, bytes: counts.1, age: counts.2, memory: counts.3, purge: counts.4)
    }
}

/// Events that a log let go of, by the bound that was reached.
public struct EvictionCounts: Sendable, Hashable {
    /// The number of events of a topic.
    public var count: UInt64 = 0
    /// The bytes of a topic.
    public var bytes: UInt64 = 0
    /// Their age.
    public var age: UInt64 = 0
    /// The bytes over all topics.
    public var memory: UInt64 = 0
    /// Somebody asked for it.
    public var purge: UInt64 = 0

    /// Makes counts.
    public init(count: UInt64 = 0, bytes: UInt64 = 0, age: UInt64 = 0, memory: UInt64 = 0, purge: UInt64 = 0) {
        self.count = count
        self.bytes = bytes
        self.age = age
        self.memory = memory
        self.purge = purge
    }
}
