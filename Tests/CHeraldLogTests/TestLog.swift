import CHeraldLog
import Synchronization

// The log as the tests see it: values in, values out. Whatever is unsafe about the headers is in this file.

/// One event to publish.
struct Publication {
    var topic: String
    var type = ""
    var contentType = "text/plain"
    var data: [UInt8] = []
}

/// A copy of an event that the log handed out.
struct Event: Equatable {
    var sequence: UInt64
    var topic: String
    var type: String
    var contentType: String
    var data: [UInt8]
    var timeMs: Int64
    var charged: UInt64
    var matches: [UInt32]
}

struct Failure: Error, Equatable {
    var status: hr_status
    var index: Int?
}

/// What one call of a reading function answered.
struct Reading {
    var events: [Event]
    var state: hr_read
    var gap: hr_gap? { state.gap.found ? state.gap : nil }
    var sequences: [UInt64] { events.map(\.sequence) }
}

/// What one call of `hr_live_read` answered.
struct LiveReading {
    var events: [Event]
    var state: hr_live
    var sequences: [UInt64] { events.map(\.sequence) }
}

/// How to read; the defaults read everything.
struct ReadOptions {
    var after: UInt64 = 0
    var until = UInt64.max
    var gapSeen: UInt64 = 0
    var newestOnly = false
    var countMax = 1000
    var bytesMax = Int.max
    /// Makes the frame of each event handed out, while it is held.
    var encoding: hr_encoding?
}

struct Rule {
    var filter: String
    var retention: hr_retention
    var slow = slowGap
}

let slowGap = hr_slow_policy(rawValue: 0)!
let slowDisconnect = hr_slow_policy(rawValue: 1)!
let slowLatest = hr_slow_policy(rawValue: 2)!
let websocket = hr_transport(rawValue: 0)!
let serverSentEvents = hr_transport(rawValue: 1)!
let longPoll = hr_transport(rawValue: 3)!
let json = hr_encoding(rawValue: 0)!

/// Calls body with the texts as slices that live as long as the call.
func withSlices<Result>(of texts: [String], _ body: (UnsafeBufferPointer<hr_slice>) throws -> Result) rethrows -> Result
{
    let bytes = texts.flatMap(\.utf8)
    return try unsafe bytes.withUnsafeBytes { raw in
        var start = 0
        var slices = unsafe [hr_slice]()
        for text in texts {
            let len = text.utf8.count
            // An empty slice of nothing would have no address, and a name always has one.
            let address = unsafe raw.baseAddress.map { unsafe ($0 + start).assumingMemoryBound(to: CChar.self) }
            unsafe slices.append(hr_slice(data: address, len: len))
            start += len
        }
        return try unsafe slices.withUnsafeBufferPointer { slices in try unsafe body(slices) }
    }
}

func text(_ slice: hr_slice) -> String {
    unsafe String(decoding: bytes(slice), as: UTF8.self)
}

func bytes(_ slice: hr_slice) -> [UInt8] {
    unsafe [UInt8](UnsafeRawBufferPointer(start: slice.data, count: slice.len))
}

private func copy(_ event: UnsafeMutablePointer<hr_event>) -> Event {
    let pointee = unsafe event.pointee
    let matches = unsafe pointee.matches!
    // The ids follow the struct; Swift does not import C's flexible arrays.
    let ids = unsafe UnsafeRawPointer(matches).advanced(by: MemoryLayout<hr_matches>.size)
    let count = unsafe Int(matches.pointee.count)
    return unsafe Event(
        sequence: pointee.sequence, topic: text(pointee.topic), type: text(pointee.type),
        contentType: text(pointee.content_type), data: bytes(pointee.data), timeMs: pointee.time_ms,
        charged: UInt64(pointee.charged_len),
        matches: (0..<count).map { unsafe ids.load(fromByteOffset: $0 * 4, as: UInt32.self) })
}

/// Copies the first count events, and gives back the references that came with them.
private func take(
    _ events: UnsafeMutableBufferPointer<UnsafeMutablePointer<hr_event>?>, count: Int, encoding: hr_encoding? = nil
) -> [Event] {
    (0..<count).map { index in
        let copied = unsafe copy(events[index]!)
        if let encoding {
            precondition(unsafe hr_event_frame(events[index]!, encoding) != nil)
        }
        unsafe hr_event_unref(&events[index])
        return copied
    }
}

private func read(
    _ options: ReadOptions,
    _ call: (UnsafeMutablePointer<hr_read>, UnsafeMutablePointer<UnsafeMutablePointer<hr_event>?>) -> Void
) -> Reading {
    var state = hr_read()
    state.cursor = options.after
    state.until = options.until
    state.gap_seen = options.gapSeen
    state.newest_only = options.newestOnly
    state.count_max = options.countMax
    state.bytes_max = options.bytesMax
    let events = unsafe withUnsafeTemporaryAllocation(
        of: UnsafeMutablePointer<hr_event>?.self, capacity: options.countMax
    ) { places in
        unsafe places.initialize(repeating: nil)
        unsafe call(&state, places.baseAddress!)
        return unsafe take(places, count: state.count, encoding: options.encoding)
    }
    return Reading(events: events, state: state)
}

/// `hr_log_config` without its pointers; at first, limits that nothing reaches by chance.
struct Settings {
    var retention = hr_retention(count_max: 1000, bytes_max: 1 << 26, age_ms_max: 3_600_000)
    var memory_bytes_max: UInt64 = 1 << 30
    var topic_count_max: UInt32 = 100_000
    var filter_count_max: UInt32 = 100_000
    var link_count_max: UInt32 = 1_000_000
    var window_count: UInt32 = 4096
    var window_bytes_max: UInt64 = 1 << 26
    var topic_idle_ms: UInt64 = 300_000

    fileprivate var config: hr_log_config {
        unsafe hr_log_config(
            epoch: 0x5f3a_9c1e, retention: retention, rules: nil, rule_count: 0, memory_bytes_max: memory_bytes_max,
            topic_count_max: topic_count_max, filter_count_max: filter_count_max, link_count_max: link_count_max,
            window_count: window_count, window_bytes_max: window_bytes_max, topic_idle_ms: topic_idle_ms,
            compressed_len_min: 0)
    }
}

/// Which loops were woken.
final class Wakes: Sendable {
    private let mask = Atomic<UInt64>(0)
    func add(_ loops: UInt64) { mask.bitwiseOr(loops, ordering: .relaxed) }
    /// The loops woken since the last call.
    func take() -> UInt64 { mask.exchange(0, ordering: .relaxed) }
}

@safe final class TestLog: Sendable {
    // Shared safely: the log has its own lock; the pointer never changes.
    nonisolated(unsafe) fileprivate let log: OpaquePointer
    let wakes = Wakes()

    init(rules: [Rule] = [], _ change: (inout Settings) -> Void = { _ in }) {
        var settings = Settings()
        change(&settings)
        var config = unsafe settings.config
        var made: OpaquePointer?
        let status = unsafe withSlices(of: rules.map(\.filter)) { filters in
            let list = unsafe zip(rules, filters).map { rule, filter in
                unsafe hr_rule(filter: filter, retention: rule.retention, slow: rule.slow)
            }
            return unsafe list.withUnsafeBufferPointer { list in
                unsafe config.rules = list.baseAddress
                unsafe config.rule_count = list.count
                return unsafe hr_log_new(&config, &made)
            }
        }
        precondition(status == .ok)
        unsafe log = made!
        let context = unsafe Unmanaged.passUnretained(wakes).toOpaque()
        unsafe hr_log_set_wake(
            log, { unsafe Unmanaged<Wakes>.fromOpaque($1!).takeUnretainedValue().add($0) }, context)
    }

    deinit {
        var last: OpaquePointer? = unsafe log
        unsafe hr_log_free(&last)
    }

    var head: UInt64 { unsafe hr_log_head(log) }
    var version: UInt64 { unsafe hr_log_version(log) }
    var epoch: UInt32 { unsafe hr_log_epoch(log) }
    var filterIDLimit: UInt32 { unsafe hr_log_filter_id_limit(log) }
    var stats: hr_log_stats {
        var stats = hr_log_stats()
        unsafe hr_log_stats_get(log, &stats)
        return stats
    }

    @discardableResult
    func append(_ publications: [Publication], at wallMs: Int64 = 1000) throws(Failure) -> [hr_receipt] {
        let texts = publications.flatMap { [$0.topic, $0.type, $0.contentType] }
        let data = publications.flatMap(\.data)
        var receipts = [hr_receipt](repeating: hr_receipt(), count: publications.count)
        var failed = 0
        let status = unsafe withSlices(of: texts) { slices in
            unsafe data.withUnsafeBytes { raw in
                var start = 0
                var list = unsafe [hr_publication]()
                for (index, publication) in publications.enumerated() {
                    let address = unsafe raw.baseAddress.map { unsafe ($0 + start).assumingMemoryBound(to: CChar.self) }
                    unsafe list.append(
                        hr_publication(
                            topic: slices[index * 3], type: slices[index * 3 + 1],
                            content_type: slices[index * 3 + 2],
                            data: hr_slice(data: address, len: publication.data.count)))
                    start += publication.data.count
                }
                return unsafe hr_log_append(log, list, list.count, wallMs, 0, &receipts, &failed)
            }
        }
        guard status == .ok else {
            throw Failure(status: status, index: failed)
        }
        return receipts
    }

    @discardableResult
    func append(_ topic: String, _ data: [UInt8] = [1], at wallMs: Int64 = 1000) throws(Failure) -> hr_receipt {
        try append([Publication(topic: topic, data: data)], at: wallMs)[0]
    }

    func tick(_ wallMs: Int64) { unsafe hr_log_tick(log, wallMs) }

    func purge(_ topic: String) -> hr_status {
        unsafe withSlices(of: [topic]) { unsafe hr_log_purge(log, $0[0]) }
    }

    func state(_ topic: String) -> hr_topic_state? {
        var state = hr_topic_state()
        let status = unsafe withSlices(of: [topic]) { unsafe hr_log_topic_state(log, $0[0], &state) }
        return status == .ok ? state : nil
    }

    func topics(
        prefix: String = "", after: String = "", filters: [String] = [], max: Int = 100
    ) -> (names: [String], more: Bool) {
        var names = unsafe hr_buf()
        defer { unsafe hr_buf_fini(&names) }
        var lens = [Int](repeating: 0, count: max)
        var states = [hr_topic_state](repeating: hr_topic_state(), count: max)
        var more = false
        let count = unsafe withSlices(of: [prefix, after] + filters) { slices in
            var choice = unsafe hr_topic_choice(
                prefix: slices[0], after: slices[1], filters: slices.baseAddress.map { $0 + 2 },
                filter_count: filters.count)
            return unsafe hr_log_topic_list(log, &choice, max, &names, &lens, &states, &more)
        }
        var start = 0
        let found = (0..<count).map { index in
            defer { start += lens[index] }
            return unsafe text(hr_slice(data: names.data + start, len: lens[index]))
        }
        return (found, more)
    }

    func read(_ filters: [String], _ options: ReadOptions = ReadOptions()) -> Reading {
        unsafe CHeraldLogTests.read(options) { state, events in
            let status = unsafe withSlices(of: filters) { slices in
                unsafe hr_log_read(log, slices.baseAddress, slices.count, state, events)
            }
            precondition(status == .ok)
        }
    }

    func read(_ filter: String, after: UInt64, gapSeen: UInt64 = 0) -> Reading {
        read([filter], ReadOptions(after: after, gapSeen: gapSeen))
    }

    func liveRead(loop: UInt32, after: UInt64, max: Int = 1000) -> LiveReading {
        var state = hr_live()
        state.cursor = after
        let events = unsafe withUnsafeTemporaryAllocation(
            of: UnsafeMutablePointer<hr_event>?.self, capacity: max
        ) { places in
            unsafe places.initialize(repeating: nil)
            unsafe hr_live_read(log, loop, &state, places.baseAddress!, max)
            return unsafe take(places, count: state.count)
        }
        return LiveReading(events: events, state: state)
    }

    /// Runs body with the one event of sequence, which is held until it returns.
    func withEvent<Result>(
        _ sequence: UInt64, in filter: String, _ body: (UnsafeMutablePointer<hr_event>) throws -> Result
    ) rethrows -> Result {
        var state = hr_read()
        state.cursor = sequence - 1
        state.until = sequence
        state.gap_seen = .max
        state.count_max = 1
        var event: UnsafeMutablePointer<hr_event>?
        let status = unsafe withSlices(of: [filter]) { unsafe hr_log_read(log, $0.baseAddress, 1, &state, &event) }
        precondition(status == .ok && state.count == 1)
        defer { unsafe hr_event_unref(&event) }
        return try unsafe body(event!)
    }
}

/// An open interest; closed when the last reference goes.
@safe final class Interest: Sendable {
    // Shared safely: what is called on it is thread-safe; the pointer never changes.
    nonisolated(unsafe) private let interest: OpaquePointer
    private let owner: TestLog

    init(
        _ log: TestLog, loop: UInt32 = 0, transport: hr_transport = websocket, _ filters: [String], members: UInt32 = 1
    ) throws(Failure) {
        var opened: OpaquePointer?
        let status = unsafe withSlices(of: filters) { slices in
            unsafe hr_interest_open(log.log, loop, transport, slices.baseAddress, slices.count, &opened)
        }
        guard status == .ok else {
            throw Failure(status: status, index: nil)
        }
        unsafe interest = opened!
        owner = log
        unsafe hr_interest_members_set(interest, members)
    }

    deinit {
        var last: OpaquePointer? = unsafe interest
        unsafe hr_interest_close(&last)
    }

    var since: UInt64 { unsafe hr_interest_since(interest) }
    var slowPolicy: hr_slow_policy { unsafe hr_interest_slow_policy(interest) }
    var ids: [UInt32] {
        unsafe (0..<hr_interest_filter_count(interest)).map { unsafe hr_interest_filter_id(interest, $0) }
    }
    var filters: [String] {
        unsafe (0..<hr_interest_filter_count(interest)).map { unsafe text(hr_interest_filter(interest, $0)) }
    }
    func setMembers(_ members: UInt32) { unsafe hr_interest_members_set(interest, members) }

    func read(_ options: ReadOptions = ReadOptions()) -> Reading {
        unsafe CHeraldLogTests.read(options) { unsafe hr_interest_read(interest, $0, $1) }
    }
}
