internal import CHeraldBase
internal import CHeraldLog

/// The one log: every event has one place in one order. Any thread.
@safe
public final class Log: Sendable {
    // Shared safely: the pointer never changes, and every function of hr_log.h may be called by any thread.
    nonisolated(unsafe) let handle: OpaquePointer

    /// Makes an empty log. Throws `outOfMemory`.
    public init(_ configuration: LogConfiguration) throws(CoreFault) {
        var handle: OpaquePointer?
        let status = unsafe configuration.withCore { core in unsafe hr_log_new(&core, &handle) }
        try CoreFault.check(status)
        guard let handle = unsafe handle else { throw CoreFault.outOfMemory }
        unsafe self.handle = handle
    }

    deinit {
        var handle: OpaquePointer? = unsafe handle
        unsafe hr_log_free(&handle)
    }

    /// Names the sequence that events are counted in.
    public var epoch: UInt32 { unsafe hr_log_epoch(handle) }

    /// The place of the newest event.
    public var head: Cursor { Cursor(epoch: epoch, sequence: unsafe hr_log_head(handle)) }

    /// What the log has counted and holds.
    public var statistics: LogStatistics {
        var core = hr_log_stats()
        unsafe hr_log_stats_get(handle, &core)
        return LogStatistics(core)
    }

    /// The state of a topic; nil when there is none of that name.
    public func state(of topic: TopicName) -> TopicState? {
        var core = hr_topic_state()
        let status = unsafe topic.text.withSlice { unsafe hr_log_topic_state(handle, $0, &core) }
        return status == .ok ? TopicState(topic: topic.text, epoch: epoch, core) : nil
    }

    /// Lets go of all that a topic keeps; false when there is no such topic.
    public func purge(_ topic: TopicName) -> Bool {
        unsafe topic.text.withSlice { unsafe hr_log_purge(handle, $0) } == .ok
    }

    /// The states of topics by name, after `name` and with `prefix`; costs as many steps as topics lie under the prefix.
    public func states(
        prefix: String, after name: String, matching filters: [FilterName] = [], limit: Int
    ) -> TopicPage {
        var names = unsafe hr_buf()
        defer { unsafe hr_buf_fini(&names) }
        var lengths = [Int](repeating: 0, count: limit)
        var states = [hr_topic_state](repeating: hr_topic_state(), count: limit)
        var more = false
        var texts = SliceArena()
        texts.append(prefix)
        texts.append(name)
        for filter in filters { texts.append(filter.text) }
        let count = unsafe texts.withSlices { slices in
            var choice = unsafe hr_topic_choice(
                prefix: slices[0], after: slices[1], filters: slices.baseAddress.map { unsafe $0 + 2 },
                filter_count: filters.count)
            return unsafe hr_log_topic_list(handle, &choice, limit, &names, &lengths, &states, &more)
        }
        var page = TopicPage(topics: [], hasMore: more)
        var start = 0
        for index in 0..<count {
            let data = unsafe names.data.map { unsafe UnsafePointer($0 + start) }
            let topic = unsafe hr_slice(data: data, len: lengths[index]).text
            page.topics.append(TopicState(topic: topic, epoch: epoch, states[index]))
            start += lengths[index]
        }
        return page
    }
}

/// The state of a topic at a moment.
public struct TopicState: Sendable, Hashable {
    /// The topic's name.
    public let topic: String
    /// The number of events kept.
    public let retained: UInt64
    /// The bytes of events kept, as they are charged.
    public let retainedBytes: UInt64
    /// The place of the newest event that is no longer kept.
    public let floor: Cursor
    /// The place of the topic's newest event.
    public let head: Cursor
    /// The number of events published to it.
    public let published: UInt64
    /// The live readers whose filters match, by transport.
    public let subscribers: [Transport: UInt32]

    init(topic: String, epoch: UInt32, _ core: hr_topic_state) {
        self.topic = topic
        retained = core.retained_count
        retainedBytes = core.retained_bytes
        floor = Cursor(epoch: epoch, sequence: core.floor)
        head = Cursor(epoch: epoch, sequence: core.head)
        published = core.published_count
        let counts = core.subscribers
        subscribers = [
            .webSocket: counts.0, .serverSentEvents: counts.1, .ndjson: counts.2, .longPoll: counts.3,
            .shortPoll: counts.4,
        ]
    }
}

/// Some of the topics, in bytewise order of their names.
public struct TopicPage: Sendable, Hashable {
    /// The topics of the page.
    public var topics: [TopicState]
    /// Whether further ones follow.
    public var hasMore: Bool

    /// Makes a page.
    public init(topics: [TopicState] = [], hasMore: Bool = false) {
        self.topics = topics
        self.hasMore = hasMore
    }
}

/// How a reader is served.
public enum Transport: Int, Sendable, Hashable, CaseIterable {
    /// A WebSocket.
    case webSocket
    /// A stream of Server-Sent Events.
    case serverSentEvents
    /// A stream of events, each a line of JSON.
    case ndjson
    /// A poll that is held until there is something to answer.
    case longPoll
    /// A poll that is answered at once.
    case shortPoll

    var core: hr_transport {
        switch self {
        case .webSocket: .HR_WEBSOCKET
        case .serverSentEvents: .HR_SSE_STREAM
        case .ndjson: .HR_NDJSON_STREAM
        case .longPoll: .HR_LONGPOLL
        case .shortPoll: .HR_SHORTPOLL
        }
    }
}
