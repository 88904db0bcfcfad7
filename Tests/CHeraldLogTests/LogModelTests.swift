import CHeraldLog
import Testing

/// One run: random steps against the log and the model, which must agree after each.
private struct Run {
    struct Mistake: Error, CustomStringConvertible {
        var description: String
    }

    /// A client that comes back again and again with the cursor that it was given.
    struct Reader {
        var filters: [String]
        var interest: Interest?
        var cursor: UInt64
        var gapSeen: UInt64
    }

    struct Open {
        var interest: Interest
        var filters: [String]
        var loop: UInt32
        var transport: hr_transport
        var members: UInt32
    }

    static let topics = LogModel.topicNames
    static let filters = LogModel.filters

    let seed: UInt64
    var random: SplitMix
    var model: LogModel
    let log: TestLog
    var open: [Open] = []
    var readers: [Reader] = []
    var nowMs: Int64 = 1000
    /// Frames and snapshots make it the log's secret when memory is short, so batches are of one event then.
    let isMemoryShort: Bool

    init(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var settings = Settings()
        settings.retention = Self.retention(&random)
        isMemoryShort = random.chance(40)
        settings.memory_bytes_max = isMemoryShort ? UInt64.random(in: 2000...8000, using: &random) : 1 << 30
        settings.topic_count_max = UInt32.random(in: 3...8, using: &random)
        settings.window_count = [1, 4, 16, 64].randomElement(using: &random)!
        settings.window_bytes_max = random.chance(30) ? 3000 : 1 << 30
        settings.topic_idle_ms = UInt64.random(in: 1...300, using: &random)
        settings.link_count_max = random.chance(20) ? 12 : 1000
        var rules: [Rule] = []
        if random.chance(50) { rules.append(Rule(filter: "a/**", retention: Self.retention(&random))) }
        self.seed = seed
        self.random = random
        model = LogModel(settings: settings, rules: rules)
        log = TestLog(rules: rules) { $0 = settings }
    }

    static func retention(_ random: inout SplitMix) -> hr_retention {
        hr_retention(
            count_max: [0, 1, 2, 5, 20, 200].randomElement(using: &random)!,
            bytes_max: random.chance(30) ? UInt64.random(in: 800...4000, using: &random) : 1 << 30,
            age_ms_max: random.chance(50) ? UInt64.random(in: 1...500, using: &random) : 0)
    }

    func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
        if !condition { throw Mistake(description: what()) }
    }

    mutating func pickFilters() -> [String] {
        Array(Self.filters.shuffled(using: &random).prefix(Int.random(in: 1...3, using: &random)))
    }

    // MARK: Steps

    mutating func step() throws {
        nowMs += Int64.random(in: 0...20, using: &random)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<45: try publish()
        case 45..<55: try readLive()
        case 55..<72: try resume()
        case 72..<84: try readAtRandom()
        case 84..<88: try openInterest()
        case 88..<91: closeInterest()
        case 91..<93: try purge()
        case 93..<94: nowMs += 61_000
        default: try tick()
        }
        try compare()
    }

    mutating func publish() throws {
        let count = isMemoryShort ? 1 : [1, 1, 1, 3, 20].randomElement(using: &random)!
        let batch = (0..<count).map { offset in
            let len = random.chance(5) ? 4000 : Int.random(in: 8...300, using: &random)
            var data = [UInt8](repeating: UInt8(ascii: "x"), count: len)
            // What an event holds says where it must stand.
            let sequence = model.head + UInt64(offset) + 1
            for place in 0..<8 { data[place] = UInt8(truncatingIfNeeded: sequence >> (8 * UInt64(place))) }
            return Publication(topic: Self.topics.randomElement(using: &random)!, contentType: "", data: data)
        }
        let sizes = batch.map {
            (topic: $0.topic, charged: eventOverhead + UInt64($0.topic.utf8.count + $0.data.count))
        }
        let refusal = model.refusal(of: sizes)
        let receipts: [hr_receipt]
        do {
            receipts = try log.append(batch, at: nowMs)
        } catch {
            // Links are the one limit that the model does not foresee: filters that linger have some.
            let isLinks = error.status == .limitReached && model.settings.link_count_max < 1000
            try require(error == refusal || isLinks, "refused with \(error), not \(String(describing: refusal))")
            // It heard the time all the same, unless it refused before it took the lock.
            if !batch.indices.contains(where: { sizes[$0].charged > model.settings.memory_bytes_max }) {
                model.clockMs = nowMs
            }
            return
        }
        try require(refusal == nil, "not refused with \(String(describing: refusal))")
        var woken: UInt64 = 0
        for (item, receipt) in zip(sizes, receipts) {
            let concerned = open.filter { $0.filters.contains { LogModel.matches($0, item.topic) } }
            let loops = concerned.reduce(0) { $0 | (UInt64(1) << UInt64($1.loop)) }
            woken |= loops
            model.append(item.topic, charged: item.charged, loops: loops, at: nowMs)
            try require(receipt.sequence == model.head, "sequence \(receipt.sequence), not \(model.head)")
            let receivers = concerned.reduce(0) { $0 + $1.members }
            try require(receipt.receivers == receivers, "\(receipt.receivers) receivers, not \(receivers)")
        }
        try require(log.wakes.take() == woken, "wrong loops woken")
        adoptMemoryEvictions()
    }

    mutating func adoptMemoryEvictions() {
        model.evictOldest(times: log.stats.evicted_count.3 - model.evicted[3])
    }

    mutating func readLive() throws {
        let index = Int.random(in: 0..<3, using: &random)
        let max = [1, 2, 100].randomElement(using: &random)!
        let before = model.loops[index].cursor
        let reading = log.liveRead(loop: UInt32(index), after: before, max: max)
        guard let expected = model.liveReading(index, max: max) else {
            try require(reading.state.overrun && reading.events.isEmpty, "loop \(index) was not overrun")
            return
        }
        try require(!reading.state.overrun, "loop \(index) was overrun")
        try require(
            reading.sequences == expected.found, "loop \(index) read \(reading.sequences), not \(expected.found)")
        try require(reading.state.more == expected.more, "loop \(index): more is \(reading.state.more)")
        try require(
            reading.state.cursor == model.loops[index].cursor, "loop \(index) stands at \(reading.state.cursor)")
        try checkContent(reading.events)
    }

    mutating func resume() throws {
        if readers.count < 6 || random.chance(5) {
            if readers.count >= 6 { readers.removeFirst() }
            let filters = pickFilters()
            let interest = random.chance(50) ? try? Interest(log, loop: 9, filters, members: 0) : nil
            if let interest {
                open.append(Open(interest: interest, filters: filters, loop: 9, transport: websocket, members: 0))
            }
            let cursor = random.chance(50) ? 0 : model.head
            readers.append(Reader(filters: filters, interest: interest, cursor: cursor, gapSeen: 0))
        }
        let index = Int.random(in: 0..<readers.count, using: &random)
        let reader = readers[index]
        var options = randomOptions(after: reader.cursor)
        options.gapSeen = reader.gapSeen
        options.until = .max
        let reading = reader.interest?.read(options) ?? log.read(reader.filters, options)
        try check(reading, reader.filters, options)
        readers[index].cursor = reading.state.cursor
        readers[index].gapSeen = reading.state.gap_seen
    }

    mutating func randomOptions(after: UInt64) -> ReadOptions {
        var options = ReadOptions(after: after)
        options.countMax = [1, 2, 5, 1000].randomElement(using: &random)!
        options.bytesMax = random.chance(30) ? Int.random(in: 0...2000, using: &random) : .max
        options.encoding = random.chance(20) ? hr_encoding(rawValue: UInt32.random(in: 0..<5, using: &random)) : nil
        options.newestOnly = random.chance(15)
        return options
    }

    mutating func readAtRandom() throws {
        let filters = pickFilters()
        var options = randomOptions(after: UInt64.random(in: 0...model.head, using: &random))
        if random.chance(30) { options.until = UInt64.random(in: options.after...model.head + 2, using: &random) }
        try check(log.read(filters, options), filters, options)
    }

    mutating func openInterest() throws {
        guard open.count < 12 else { return }
        let filters = pickFilters()
        let loop = UInt32.random(in: 0..<3, using: &random)
        let transport = hr_transport(rawValue: UInt32.random(in: 0..<4, using: &random))!
        let members = UInt32.random(in: 0...9, using: &random)
        do {
            let interest = try Interest(log, loop: loop, transport: transport, filters, members: members)
            try require(interest.since == model.head, "an interest began at \(interest.since)")
            open.append(Open(interest: interest, filters: filters, loop: loop, transport: transport, members: members))
        } catch let error as Failure {
            try require(error.status == .limitReached && model.settings.link_count_max < 1000, "refused with \(error)")
        }
    }

    mutating func closeInterest() {
        guard !open.isEmpty else { return }
        let closed = open.remove(at: Int.random(in: 0..<open.count, using: &random)).interest
        for index in readers.indices where readers[index].interest === closed { readers[index].interest = nil }
    }

    mutating func purge() throws {
        let topic = Self.topics.randomElement(using: &random)!
        let expected = model.purge(topic)
        try require(log.purge(topic) == expected, "purge of \(topic) is not \(expected)")
    }

    mutating func tick() throws {
        log.tick(nowMs)
        model.tick(nowMs)
        adoptMemoryEvictions()
    }

    // MARK: What must hold

    /// Events are the right ones, in order; what is missing was told.
    func check(_ reading: Reading, _ filters: [String], _ options: ReadOptions) throws {
        let state = reading.state
        let expected = model.reading(filters, options)
        try require(reading.sequences == expected, "\(filters) \(options): read \(reading.sequences), not \(expected)")
        let limit = min(options.until, model.head)
        try require(state.head == model.head, "head \(state.head)")
        try require(
            state.complete == (state.cursor >= limit), "complete is \(state.complete) at \(state.cursor) of \(limit)")
        try require(
            state.cursor >= options.after && state.cursor >= expected.last ?? 0, "cursor \(state.cursor) went back")
        try require(state.cursor > options.after || state.complete, "a read got nowhere")
        // Nothing between the old cursor and the new was passed over.
        var rest = options
        rest.countMax = .max
        rest.bytesMax = .max
        let passed = model.reading(filters, rest).filter { $0 <= state.cursor }
        try require(passed == expected, "\(filters) \(options): passed over \(passed)")
        rest.newestOnly = false
        let skipped = model.reading(filters, rest).count { $0 <= state.cursor } - expected.count
        try require(state.skipped == UInt64(skipped), "\(state.skipped) skipped, not \(skipped)")
        try checkGap(reading, filters, options)
        try checkContent(reading.events)
    }

    func checkGap(_ reading: Reading, _ filters: [String], _ options: ReadOptions) throws {
        let lost = model.lost(filters, after: options.after, through: options.until)
        try require(
            (lost.last ?? 0) <= reading.state.gap_seen,
            "\(filters) \(options): lost \(lost) and was told up to \(reading.state.gap_seen) only")
        guard let gap = reading.gap else {
            try require(reading.state.gap_seen == options.gapSeen, "gap_seen moved without a gap")
            return
        }
        try require(gap.from == options.after + 1 && gap.to >= gap.from, "gap from \(gap.from) to \(gap.to)")
        try require(gap.to <= min(options.until, model.head) && gap.to > options.gapSeen, "gap to \(gap.to)")
        try require(gap.to == reading.state.gap_seen, "gap to \(gap.to), seen \(reading.state.gap_seen)")
        let missed = lost.filter { $0 <= gap.to }.count
        try require(gap.missed_max >= UInt64(missed), "\(gap.missed_max) missed at most, but it was \(missed)")
        if filters.count == 1, options.until == .max, let topic = model.topics[filters[0]], !topic.isReborn {
            try require(lost.last == gap.to, "\(filters): a gap to \(gap.to) without a loss")
        }
    }

    func checkContent(_ events: [Event]) throws {
        for event in events {
            let written = (0..<8).reduce(UInt64(0)) { $0 | UInt64(event.data[$1]) << (8 * UInt64($1)) }
            try require(written == event.sequence, "event \(event.sequence) has the data of \(written)")
            try require(
                event.topic == model.event(event.sequence).topic, "event \(event.sequence) is in \(event.topic)")
        }
    }

    func compare() throws {
        let stats = log.stats
        try require(stats.head == model.head, "head \(stats.head)")
        try require(stats.topic_count == UInt64(model.topics.count), "\(stats.topic_count) topics")
        try require(
            stats.retained_bytes == model.retainedBytes,
            "\(stats.retained_bytes) bytes retained, not \(model.retainedBytes)")
        let retained = model.topics.values.reduce(0) { $0 + $1.retained.count }
        try require(stats.retained_count == UInt64(retained), "\(stats.retained_count) retained, not \(retained)")
        try require(stats.window_count == model.head + 1 - model.windowFirst, "\(stats.window_count) in the window")
        try require(
            stats.window_bytes == model.windowBytes, "\(stats.window_bytes) in the window, not \(model.windowBytes)")
        let counts = stats.evicted_count
        let evicted = [counts.0, counts.1, counts.2, counts.3, counts.4]
        try require(evicted == model.evicted, "evicted \(evicted), not \(model.evicted)")
        try require(
            stats.retained_bytes <= model.settings.memory_bytes_max, "\(stats.retained_bytes) bytes of memory retained")
        try require(stats.link_count <= UInt64(model.settings.link_count_max), "\(stats.link_count) links")
        let filters = Set(open.flatMap(\.filters))
        try require(stats.filter_count == UInt64(filters.count), "\(stats.filter_count) filters, not \(filters.count)")
        let name = Self.topics[Int(model.head) % Self.topics.count]
        try compareState(of: name)
    }

    func compareState(of name: String) throws {
        guard let state = log.state(name), let topic = model.topics[name] else {
            try require(log.state(name) == nil && model.topics[name] == nil, "\(name) is known to one only")
            return
        }
        try require(
            state.head == topic.head && state.published_count == topic.published
                && state.retained_count == UInt64(topic.retained.count), "state of \(name): \(state)")
        try require(
            state.floor < topic.retained.first ?? .max, "floor \(state.floor) of \(name) is not below the first")
        var members = [UInt32](repeating: 0, count: 4)
        for item in open where item.filters.contains(where: { LogModel.matches($0, name) }) {
            members[Int(item.transport.rawValue)] += item.members
        }
        let found = state.subscribers
        try require([found.0, found.1, found.2, found.3] == members, "subscribers \(found) of \(name)")
    }
}

struct LogModelTests {
    /// Seeds a case runs; eight cases, so that a failure is found sooner on many processors.
    private static let seedsPerCase: UInt64 = 40
    private static let stepCount = 300

    @Test(arguments: UInt64(0)..<8)
    func `the log does what a log that keeps everything would do`(part: UInt64) {
        for seed in part * Self.seedsPerCase..<(part + 1) * Self.seedsPerCase {
            var run = Run(seed: seed)
            for step in 0..<Self.stepCount {
                do {
                    try run.step()
                } catch {
                    Issue.record("seed \(seed), step \(step): \(error)")
                    return
                }
            }
        }
    }
}
