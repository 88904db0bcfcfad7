internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldWire

/// The bounds and times of a hub; times in milliseconds, sizes in bytes.
public struct HubConfiguration: Sendable {
    /// The most loops a hub can have.
    public static let loopCountMax = Int(HR_LOOP_COUNT_MAX)

    /// The number of event loops, each a thread: 1 to ``loopCountMax``.
    public var loopCount = 1
    /// The number of connections over all loops; one more is answered 503.
    public var connectionCount: UInt32 = 100_000
    /// The size of a request's line and headers.
    public var headLength: UInt32 = 16 << 10
    /// The size of a request's body.
    public var bodyLength: UInt64 = 1 << 20
    /// The size of a WebSocket message from a client.
    public var messageLength: UInt64 = 1 << 20
    /// The number of filters of one reader.
    public var filtersPerReader: UInt32 = 64
    /// The time a request's head and body may take to arrive.
    public var requestTimeout: UInt32 = 10_000
    /// The time a connection may stay open between requests.
    public var idleTimeout: UInt32 = 75_000
    /// The time after which a connection that takes nothing is closed.
    public var writeTimeout: UInt32 = 300_000
    /// The mean time between heartbeats of a stream.
    public var heartbeat: UInt32 = 25_000
    /// The time an SSE client is told to wait before it reconnects.
    public var sseRetry: UInt32 = 2000
    /// The time over which a drain spreads the ends of connections.
    public var drainTimeout: UInt32 = 10_000
    /// Whether the fan-out uses io_uring where the kernel has it to give.
    public var usesIOUring = true
    /// The number of TLS handshakes a loop goes on with before its other connections have their turn.
    public var handshakesPerTurn: UInt32 = 4
    /// The number of streams an HTTP/2 connection may have at a time.
    public var http2Streams: UInt32 = 256
    /// The number of frames that only make work which an HTTP/2 client may send at once; a tenth comes back each second.
    public var http2Allowance: UInt32 = 1000
    /// Whether clients that ask for compressed events get them.
    public var compresses = true
    /// The proxies whose word about their clients is taken.
    public var trustedProxies: [IPRange] = []
    /// The header in which they say it.
    public var forwardedHeader: ForwardedHeader = .none
    /// The number of connections of one address, of readers behind a trusted proxy; 0: no bound.
    public var connectionsPerAddress: UInt32 = 0
    /// The number of streams and WebSockets that may begin in a second; 0: no bound.
    public var readersPerSecond: UInt32 = 0
    /// `Retry-After` of 429 and 503 is 1 to so many seconds, at random.
    public var retryAfterSeconds: UInt32 = 5
    /// What the `Server` header says.
    public var serverName = "herald"
    /// Header lines, each with its line break, one of which answers can be given: ``Request/setHeaders(_:)``. Until then
    /// it is the first. At most ``headerBlockCountMax``.
    public var headerBlocks: [String] = []
    /// The same for problems that the core answers by itself.
    public var faultHeaders = ""

    /// The most blocks of header lines a hub can have.
    public static let headerBlockCountMax = Int(HR_HEADER_BLOCKS_MAX)

    /// Makes a configuration of defaults.
    public init() {}

    /// Calls `body` with the configuration as C has it, which is good until it returns.
    func withCore<Result>(_ body: (inout hr_hub_config) -> Result) -> Result {
        precondition(headerBlocks.count <= Self.headerBlockCountMax, "more header blocks than can be told apart")
        var texts = SliceArena()
        for text in [serverName, faultHeaders] + headerBlocks { texts.append(text) }
        let ranges = trustedProxies.map(\.core)
        return unsafe texts.withSlices { texts in
            unsafe ranges.withUnsafeBufferPointer { ranges in unsafe withCore(texts, ranges, body) }
        }
    }

    private func withCore<Result>(
        _ texts: UnsafeBufferPointer<hr_slice>, _ proxies: UnsafeBufferPointer<hr_address_range>,
        _ body: (inout hr_hub_config) -> Result
    ) -> Result {
        let blocks = unsafe UnsafeBufferPointer(rebasing: texts.dropFirst(2))
        var core = unsafe hr_hub_config(
            loop_count: UInt32(clamping: min(max(loopCount, 1), Self.loopCountMax)),
            connection_count_max: connectionCount, head_len_max: headLength, body_len_max: bodyLength,
            message_len_max: messageLength, filters_per_reader_max: filtersPerReader,
            request_timeout_ms: requestTimeout, idle_timeout_ms: idleTimeout, write_timeout_ms: writeTimeout,
            heartbeat_ms: heartbeat, sse_retry_ms: sseRetry, drain_timeout_ms: drainTimeout,
            uses_io_uring: usesIOUring, handshakes_per_turn: max(handshakesPerTurn, 1),
            h2_streams_max: http2Streams, h2_allowance: http2Allowance, compresses: compresses,
            trusted_proxies: proxies.baseAddress, trusted_proxy_count: proxies.count,
            forwarded: forwardedHeader.core, connections_per_address_max: connectionsPerAddress,
            readers_per_second_max: readersPerSecond, retry_after_s_max: max(retryAfterSeconds, 1),
            server_name: texts[0], header_blocks: blocks.baseAddress, header_block_count: blocks.count,
            fault_headers: texts[1])
        return unsafe body(&core)
    }
}
