import CHeraldLog

/// What the log should do, told naively: it keeps everything and looks through all of it each time.
struct LogModel {
    struct Published {
        var topic: String
        var charged: UInt64
        var timeMs: Int64
        var loops: UInt64
        var isRetained: Bool
    }

    struct Topic {
        var retention: hr_retention
        var retained: [UInt64] = []
        var published: UInt64 = 0
        var head: UInt64 = 0
        var touchedMs: Int64 = 0
        /// A topic of this name was forgotten before, or one may have been.
        var isReborn = false
    }

    /// The live position of a loop.
    struct Loop {
        var cursor: UInt64 = 0
        var wanted: UInt64 = 0
    }

    var settings: Settings
    var rules: [Rule] = []
    var events: [Published] = []
    var topics: [String: Topic] = [:]
    var everPublished: Set<String> = []
    var forgotten: Set<String> = []
    var loops = [Loop](repeating: Loop(), count: 3)
    var windowFirst: UInt64 = 1
    var windowBytes: UInt64 = 0
    var clockMs: Int64 = 0
    var evicted = [UInt64](repeating: 0, count: 5)
    var retainedBytes: UInt64 = 0

    var head: UInt64 { UInt64(events.count) }
    func event(_ sequence: UInt64) -> Published { events[Int(sequence) - 1] }

    init(settings: Settings, rules: [Rule]) {
        self.settings = settings
        self.rules = rules
    }

    private struct Pair: Hashable {
        var filter: String
        var topic: String
    }
    static let topicNames = ["a", "b", "a/b", "a/c", "a/b/c", "~x/y", "d/e/f/g"]
    static let filters = ["a", "b", "a/b", "a/*", "a/**", "*", "**", "*/b", "~x/*", "*/*/c", "d/**", "nobody"]
    /// Worked out once, because the model asks for every event in every step.
    private static let known = Dictionary(
        uniqueKeysWithValues: filters.flatMap { filter in
            topicNames.map { topic in
                (
                    Pair(filter: filter, topic: topic),
                    workOut(filter.split(separator: "/"), topic.split(separator: "/"))
                )
            }
        })

    static func matches(_ filter: String, _ topic: String) -> Bool { known[Pair(filter: filter, topic: topic)]! }

    private static func workOut(_ filter: [Substring], _ topic: [Substring]) -> Bool {
        if topic[0].hasPrefix("~") && filter[0].hasPrefix("*") { return false }
        for (index, segment) in filter.enumerated() {
            if segment == "**" { return topic.count > index }
            guard index < topic.count, segment == "*" || segment == topic[index] else { return false }
        }
        return filter.count == topic.count
    }

    func retention(of topic: String) -> hr_retention {
        rules.first { Self.matches($0.filter, topic) }?.retention ?? settings.retention
    }

    /// What appending these events is refused with, if it is.
    func refusal(of batch: [(topic: String, charged: UInt64)]) -> Failure? {
        if let index = batch.firstIndex(where: { $0.charged > settings.memory_bytes_max }) {
            return Failure(status: .tooBig, index: index)
        }
        var known = Set(topics.keys)
        for (index, item) in batch.enumerated() {
            if !known.contains(item.topic) {
                guard known.count < Int(settings.topic_count_max) else {
                    return Failure(status: .limitReached, index: index)
                }
                known.insert(item.topic)
            }
            let retention = retention(of: item.topic)
            if retention.count_max > 0 && item.charged > retention.bytes_max {
                return Failure(status: .tooBig, index: index)
            }
        }
        return nil
    }

    private mutating func lose(_ topic: String, _ reason: Int) {
        let sequence = topics[topic]!.retained.removeFirst()
        events[Int(sequence) - 1].isRetained = false
        topics[topic]!.touchedMs = topics[topic]!.retained.isEmpty ? clockMs : topics[topic]!.touchedMs
        retainedBytes -= event(sequence).charged
        evicted[reason] += 1
    }

    /// Evicts the oldest of all, as the log says it did: how often depends on bytes that only the log knows.
    mutating func evictOldest(times: UInt64) {
        for _ in 0..<times {
            guard let oldest = topics.values.compactMap(\.retained.first).min() else { return }
            lose(event(oldest).topic, 3)
        }
    }

    func bytes(of topic: String) -> UInt64 { topics[topic]!.retained.reduce(0) { $0 + event($1).charged } }

    mutating func append(_ topic: String, charged: UInt64, loops concerned: UInt64, at wallMs: Int64) {
        clockMs = wallMs
        let retention = retention(of: topic)
        let sequence = head + 1
        everPublished.insert(topic)
        let isKept = retention.count_max > 0
        events.append(
            Published(topic: topic, charged: charged, timeMs: wallMs, loops: concerned, isRetained: isKept))
        var state = topics[topic] ?? Topic(retention: retention, isReborn: !forgotten.isEmpty)
        state.published += 1
        state.head = sequence
        state.touchedMs = wallMs
        topics[topic] = state
        if isKept {
            while topics[topic]!.retained.count >= Int(retention.count_max) { lose(topic, 0) }
            while bytes(of: topic) + charged > retention.bytes_max { lose(topic, 1) }
            topics[topic]!.retained.append(sequence)
            retainedBytes += charged
        }
        pushWindow(charged)
        for index in loops.indices where concerned & (1 << index) != 0 && loops[index].wanted == 0 {
            loops[index].wanted = sequence
        }
    }

    private mutating func pushWindow(_ charged: UInt64) {
        windowBytes += charged
        while head - windowFirst + 1 > settings.window_count
            || (windowBytes > settings.window_bytes_max && windowFirst < head)
        {
            windowBytes -= event(windowFirst).charged
            windowFirst += 1
        }
    }

    mutating func tick(_ wallMs: Int64) {
        clockMs = wallMs
        for (name, topic) in topics {
            let age = Int64(topic.retention.age_ms_max)
            while age > 0, let first = topics[name]!.retained.first, event(first).timeMs + age <= wallMs {
                lose(name, 2)
            }
            let idle = Int64(settings.topic_idle_ms)
            if topics[name]!.retained.isEmpty && topics[name]!.touchedMs + idle <= wallMs {
                topics[name] = nil
                forgotten.insert(name)
            }
        }
    }

    mutating func purge(_ name: String) -> hr_status {
        guard topics[name] != nil else { return .notFound }
        while !topics[name]!.retained.isEmpty { lose(name, 4) }
        return .ok
    }

    /// What a read of filters should hand out, if the log looks at everything in one call.
    func reading(_ filters: [String], _ options: ReadOptions) -> [UInt64] {
        var found: [UInt64] = []
        var bytes: UInt64 = 0
        let wanted = topicsMatched(filters)
        for sequence in stride(from: options.after + 1, through: Swift.min(options.until, head), by: 1) {
            let event = event(sequence)
            guard event.isRetained, wanted.contains(event.topic),
                !options.newestOnly || newest(of: event.topic, upTo: options.until) == sequence
            else { continue }
            bytes += event.charged
            if found.count == options.countMax || (!found.isEmpty && bytes > UInt64(options.bytesMax)) { break }
            found.append(sequence)
        }
        return found
    }

    private func newest(of topic: String, upTo until: UInt64) -> UInt64? {
        topics[topic]!.retained.last { $0 <= until }
    }

    /// The events that a reader of filters can't have any more.
    func lost(_ filters: [String], after: UInt64, through: UInt64) -> [UInt64] {
        let wanted = topicsMatched(filters)
        return stride(from: after + 1, through: Swift.min(through, head), by: 1).filter { sequence in
            !event(sequence).isRetained && wanted.contains(event(sequence).topic)
        }
    }

    /// Of all topics that there ever were.
    private func topicsMatched(_ filters: [String]) -> Set<String> {
        everPublished.filter { topic in filters.contains { Self.matches($0, topic) } }
    }

    /// What a live read of loop should answer; nil: an overrun.
    mutating func liveReading(_ index: Int, max: Int) -> (found: [UInt64], more: Bool)? {
        let loop = loops[index]
        let start = Swift.max(loop.cursor + 1, loop.wanted)
        guard loop.wanted > 0, start >= windowFirst else {
            loops[index] = Loop(cursor: head, wanted: 0)
            return loop.wanted == 0 ? ([], false) : nil
        }
        let concerned = stride(from: start, through: head, by: 1).filter { event($0).loops & (1 << index) != 0 }
        if concerned.count > max {
            loops[index].cursor = concerned[max] - 1
            return (Array(concerned.prefix(max)), true)
        }
        loops[index] = Loop(cursor: head, wanted: 0)
        return (concerned, false)
    }
}
