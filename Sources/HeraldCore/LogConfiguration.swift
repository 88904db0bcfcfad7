internal import CHeraldBase
internal import CHeraldLog

/// How much a topic keeps for replay.
public struct Retention: Sendable, Hashable {
    /// The number of events; 0 keeps none.
    public var count: UInt32

    /// The bytes of events, as they are charged.
    public var bytes: UInt64

    /// The age in milliseconds; 0: for ever.
    public var ageMilliseconds: UInt64

    /// Makes bounds.
    public init(count: UInt32, bytes: UInt64, ageMilliseconds: UInt64) {
        self.count = count
        self.bytes = bytes
        self.ageMilliseconds = ageMilliseconds
    }
}

/// What happens to a reader that its topics have overtaken.
public enum SlowPolicy: Sendable, Hashable {
    /// It is told what it missed and goes on from the oldest event kept.
    case gap
    /// Its connection is closed.
    case disconnect
    /// It skips to the newest event and is told what it missed.
    case latest
}

/// Retention and slow readers of the topics that a filter matches.
public struct LogRule: Sendable, Hashable {
    /// The topics it is for.
    public var filter: FilterName
    /// What such a topic keeps.
    public var retention: Retention
    /// What happens to readers that are too slow for it.
    public var slow: SlowPolicy

    /// Makes a rule.
    public init(filter: FilterName, retention: Retention, slow: SlowPolicy = .gap) {
        self.filter = filter
        self.retention = retention
        self.slow = slow
    }
}

/// The bounds of a log. Reaching one is an answer, never growth.
public struct LogConfiguration: Sendable {
    /// Names the sequence that events are counted in.
    public var epoch: UInt32
    /// What a topic keeps when no rule matches it.
    public var retention: Retention
    /// Exceptions, of which the first that matches counts.
    public var rules: [LogRule]
    /// The bytes of events and their encodings over all topics.
    public var memoryBytes: UInt64
    /// The number of topics.
    public var topicCount: UInt32
    /// The number of distinct filters that have readers.
    public var filterCount: UInt32
    /// The number of pairs of a topic and a filter that matches it.
    public var linkCount: UInt32
    /// The events that the live window holds; a power of two.
    public var windowCount: UInt32
    /// The bytes that the live window holds.
    public var windowBytes: UInt64
    /// The milliseconds after which an empty topic is forgotten.
    public var topicIdleMilliseconds: UInt64
    /// The bytes from which on an event, or another text, is compressed for those who ask for it.
    public var compressedLength = 256

    /// Makes a configuration.
    public init(
        epoch: UInt32, retention: Retention, rules: [LogRule] = [], memoryBytes: UInt64, topicCount: UInt32,
        filterCount: UInt32, linkCount: UInt32, windowCount: UInt32, windowBytes: UInt64,
        topicIdleMilliseconds: UInt64
    ) {
        self.epoch = epoch
        self.retention = retention
        self.rules = rules
        self.memoryBytes = memoryBytes
        self.topicCount = topicCount
        self.filterCount = filterCount
        self.linkCount = linkCount
        self.windowCount = windowCount
        self.windowBytes = windowBytes
        self.topicIdleMilliseconds = topicIdleMilliseconds
    }

    /// Calls `body` with the configuration as C has it, which is good until it returns.
    func withCore<Result>(_ body: (inout hr_log_config) -> Result) -> Result {
        var filters = SliceArena()
        for rule in rules { filters.append(rule.filter.text) }
        return unsafe filters.withSlices { filters in
            let core = unsafe zip(filters, rules).map { filter, rule in
                unsafe hr_rule(filter: filter, retention: rule.retention.core, slow: rule.slow.core)
            }
            return unsafe core.withUnsafeBufferPointer { core in
                var configuration = unsafe hr_log_config(
                    epoch: epoch, retention: retention.core, rules: core.baseAddress, rule_count: core.count,
                    memory_bytes_max: memoryBytes, topic_count_max: topicCount, filter_count_max: filterCount,
                    link_count_max: linkCount, window_count: windowCount, window_bytes_max: windowBytes,
                    topic_idle_ms: topicIdleMilliseconds, compressed_len_min: compressedLength)
                return unsafe body(&configuration)
            }
        }
    }
}

extension Retention {
    var core: hr_retention {
        hr_retention(count_max: count, bytes_max: bytes, age_ms_max: ageMilliseconds)
    }
}

extension SlowPolicy {
    var core: hr_slow_policy {
        switch self {
        case .gap: .HR_SLOW_GAP
        case .disconnect: .HR_SLOW_DISCONNECT
        case .latest: .HR_SLOW_LATEST
        }
    }
}
