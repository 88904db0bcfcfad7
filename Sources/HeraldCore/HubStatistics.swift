internal import CHeraldHub
internal import CHeraldLog

/// What the loops of a hub have counted since its start. Gauges are marked.
public struct HubStatistics: Sendable, Hashable {
    /// Connections that are open. Gauge.
    public var connections: UInt64 = 0
    /// Connections that were accepted.
    public var accepted: UInt64 = 0
    /// Connections that could not be accepted, by ``acceptFailureNames``.
    public var acceptFailures = [UInt64](repeating: 0, count: Self.acceptFailureNames.count)
    /// Connections that ended, by ``closeReasonNames``.
    public var closed = [UInt64](repeating: 0, count: Self.closeReasonNames.count)
    /// Connections by what they speak, by ``protocolNames``. Gauges.
    public var protocols = [UInt64](repeating: 0, count: Self.protocolNames.count)
    /// TLS handshakes that are over: for each of ``tlsVersionNames`` by ``tlsOutcomeNames``.
    public var handshakes = [[UInt64]](
        repeating: [UInt64](repeating: 0, count: Self.tlsOutcomeNames.count), count: Self.tlsVersionNames.count)
    /// TLS handshakes that took up an earlier session, by ``tlsVersionNames``.
    public var handshakesResumed = [UInt64](repeating: 0, count: Self.tlsVersionNames.count)
    /// Streams of HTTP/2 that are open. Gauge.
    public var http2Streams: UInt64 = 0
    /// Streams of HTTP/2 that were opened.
    public var http2StreamsOpened: UInt64 = 0
    /// Streams of HTTP/2 that were refused by a limit or a drain.
    public var http2StreamsRefused: UInt64 = 0
    /// Streams of HTTP/2 that the client reset.
    public var http2StreamsReset: UInt64 = 0
    /// Connections of HTTP/2 that were cut because the client sent too many frames that only make work.
    public var http2Floods: UInt64 = 0
    /// Long-polls that are held. Gauge.
    public var heldRequests: UInt64 = 0
    /// Answers by the first digit of their status, 1 first.
    public var answers = [UInt64](repeating: 0, count: 5)
    /// Requests that the parser refused, by ``faultNames``.
    public var faults = [UInt64](repeating: 0, count: Self.faultNames.count)
    /// Requests that did not arrive in time.
    public var requestTimeouts: UInt64 = 0
    /// Connections, streams of HTTP/2 and readers that were refused because their address has as many as it may.
    public var addressRefusals: UInt64 = 0
    /// Readers that were refused because as many had begun in the second as may.
    public var busyRefusals: UInt64 = 0
    /// Events that were published.
    public var publishedEvents: UInt64 = 0
    /// Their data's bytes.
    public var publishedBytes: UInt64 = 0
    /// Messages of WebSocket clients.
    public var webSocketMessages: UInt64 = 0
    /// Close frames that were sent, by ``webSocketCloseCodes``.
    public var webSocketCloses = [UInt64](repeating: 0, count: Self.webSocketCloseCodes.count)
    /// How late the loops' timers came.
    public var lag = Histogram()
    /// What was counted for each transport.
    public var transports: [Transport: TransportStatistics] = Dictionary(
        uniqueKeysWithValues: Transport.allCases.map { ($0, TransportStatistics()) })

    /// Makes statistics of a hub in which nothing has happened.
    public init() {}

    init(_ core: hr_stats) {
        connections = core.connections
        accepted = core.accepted
        acceptFailures = numbers(core.accept_failures)
        // The first reason stands for connections that are open.
        closed = Array(numbers(core.closed).dropFirst())
        protocols = numbers(core.protocols)
        let outcomes = numbers(core.handshakes)
        let width = Self.tlsOutcomeNames.count
        handshakes = stride(from: 0, to: outcomes.count, by: width).map { Array(outcomes[$0..<$0 + width]) }
        handshakesResumed = numbers(core.handshakes_resumed)
        http2Streams = core.h2_streams
        http2StreamsOpened = core.h2_streams_opened
        http2StreamsRefused = core.h2_streams_refused
        http2StreamsReset = core.h2_streams_reset
        http2Floods = core.h2_floods
        heldRequests = core.held_requests
        answers = numbers(core.answers)
        // The first fault stands for requests without one.
        faults = Array(numbers(core.faults).dropFirst())
        requestTimeouts = core.request_timeouts
        addressRefusals = core.address_refusals
        busyRefusals = core.busy_refusals
        publishedEvents = core.published_events
        publishedBytes = core.published_bytes
        webSocketMessages = core.ws_messages_received
        webSocketCloses = numbers(core.ws_closes_sent)
        lag = Histogram(core.lag)
        transports[.webSocket] = TransportStatistics(core.transports.0)
        transports[.serverSentEvents] = TransportStatistics(core.transports.1)
        transports[.ndjson] = TransportStatistics(core.transports.2)
        transports[.longPoll] = TransportStatistics(core.transports.3)
        transports[.shortPoll] = TransportStatistics(core.transports.4)
    }

    /// Why connections could not be accepted.
    public static let acceptFailureNames = ["descriptors", "limit", "other"]

    /// Why connections ended.
    public static let closeReasonNames = [
        "peer", "reset", "done", "protocol", "idle", "timeout", "unresponsive", "slow", "limit", "drain",
        "handshake", "rights",
    ]

    /// What connections speak, and whether with TLS.
    public static let protocolNames = [
        (name: "http/1.1", isSecure: false), (name: "h2", isSecure: false), (name: "http/1.1", isSecure: true),
        (name: "h2", isSecure: true),
    ]

    /// The versions that handshakes agreed on; the first stands for none.
    public static let tlsVersionNames = ["none", "TLSv1.2", "TLSv1.3"]

    /// What became of handshakes.
    public static let tlsOutcomeNames = [
        "completed", "plain_text", "version", "cipher", "protocol", "client_certificate", "refused", "left", "timeout",
        "other",
    ]

    /// Why the parser refused requests.
    public static let faultNames = [
        "request_line", "method", "version", "header", "host", "length", "transfer_encoding", "chunk",
        "target_length", "head_length", "body_length", "memory",
    ]

    /// The codes that close frames are counted by.
    public static let webSocketCloseCodes = [1000, 1001, 1002, 1007, 1008, 1009, 1011, 1013]
}

/// What was counted for the readers of one transport. Gauges are marked.
public struct TransportStatistics: Sendable, Hashable {
    /// Readers by ``stateNames``. Gauges.
    public var readers = [UInt64](repeating: 0, count: Self.stateNames.count)
    /// Filters of readers. Gauge.
    public var subscriptions: UInt64 = 0
    /// Readers that began.
    public var readersOpened: UInt64 = 0
    /// Events that were sent to readers.
    public var deliveries: UInt64 = 0
    /// Their data's bytes.
    public var payloadBytes: UInt64 = 0
    /// All other bytes that were sent to deliver them, before compression.
    public var overheadBytes: UInt64 = 0
    /// The bytes of deliveries to readers with compression, as they would be without.
    public var compressionInputBytes: UInt64 = 0
    /// The same bytes as they were sent.
    public var compressionOutputBytes: UInt64 = 0
    /// Times that a reader's socket took no more.
    public var stalls: UInt64 = 0
    /// Gaps that readers were told of, by ``gapReasonNames``.
    public var gaps = [UInt64](repeating: 0, count: Self.gapReasonNames.count)
    /// Events covered by gaps, at most.
    public var missed: UInt64 = 0
    /// Readers that came with a cursor, by ``resumeOutcomeNames``.
    public var resumes = [UInt64](repeating: 0, count: Self.resumeOutcomeNames.count)
    /// Polls that were answered, by ``pollOutcomeNames``.
    public var polls = [UInt64](repeating: 0, count: Self.pollOutcomeNames.count)
    /// Heartbeats that were sent.
    public var heartbeats: UInt64 = 0
    /// The time from publishing to writing.
    public var latency = Histogram()

    /// Makes statistics of a transport that nobody has used.
    public init() {}

    init(_ core: hr_transport_stats) {
        readers = numbers(core.readers)
        subscriptions = core.subscriptions
        readersOpened = core.readers_opened
        deliveries = core.deliveries
        payloadBytes = core.payload_bytes
        overheadBytes = core.overhead_bytes
        compressionInputBytes = core.compression_input_bytes
        compressionOutputBytes = core.compression_output_bytes
        stalls = core.stalls
        gaps = numbers(core.gaps)
        missed = core.missed_max
        resumes = numbers(core.resumes)
        polls = numbers(core.polls)
        heartbeats = core.heartbeats
        latency = Histogram(core.latency)
    }

    /// The states of readers.
    public static let stateNames = ["live", "catching_up", "stalled"]

    /// Why readers missed events.
    public static let gapReasonNames = ["evicted", "epoch", "conflated"]

    /// What became of readers that came with a cursor.
    public static let resumeOutcomeNames = ["resumed", "gap", "reset"]

    /// What polls were answered with.
    public static let pollOutcomeNames = ["data", "empty", "not_modified", "timeout"]
}

/// Durations, counted by length.
public struct Histogram: Sendable, Hashable {
    /// The upper bounds of the buckets in nanoseconds; one more bucket has none.
    public static let boundsNanoseconds: [UInt64] = numbers(hr_bucket_bounds_ns)

    /// The number of durations in each bucket, not cumulative.
    public var buckets = [UInt64](repeating: 0, count: Int(HR_BUCKET_COUNT) + 1)

    /// The sum of the durations in nanoseconds.
    public var sumNanoseconds: UInt64 = 0

    /// Makes an empty histogram.
    public init() {}

    init(_ core: hr_histogram) {
        buckets = numbers(core.buckets)
        sumNanoseconds = core.sum_ns
    }
}

/// The elements of a C array of 64-bit numbers, which Swift sees as a tuple.
private func numbers<Tuple>(_ tuple: Tuple) -> [UInt64] {
    unsafe withUnsafeBytes(of: tuple) { bytes in
        unsafe Array(bytes.bindMemory(to: UInt64.self))
    }
}
