import AsyncHTTPClient
import NIOCore

/// Reads events from a stream of JSON lines.
struct NDJSONTransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    /// The first line of a stream says where it stands.
    let namesItsStart = true

    func run(_ feed: ReaderFeed) async throws -> StreamEnd {
        let stream = StreamRequest(caller: caller, filters: filters, mediaType: "application/x-ndjson")
        do {
            return try await SilenceWatch.run(limit: caller.configuration.silenceMax) { watch in
                guard let body = try await stream.open(at: await feed.position, watch) else { return .stop }
                return try await read(body, feed, watch)
            }
        } catch let error as LineTooLong {
            throw HeraldError.tooLarge(what: "A line of the stream", limit: error.limit)
        } catch {
            throw caller.explain(error)
        }
    }

    private func read(
        _ body: HTTPClientResponse.Body, _ feed: ReaderFeed, _ watch: SilenceWatch
    ) async throws -> StreamEnd {
        try await feed.take([.connected])
        var lines = LineSplitter(lineBytesMax: caller.configuration.limits.messageBytesMax)
        var pieces = body.makeAsyncIterator()
        while true {
            watch.startWaiting()
            guard let piece = try await pieces.next() else { return .reconnect }
            watch.stopWaiting()
            var signals: [Signal] = []
            for line in try lines.feed(Array(piece.readableBytesView)) {
                let message = try ServerMessage(json: line)
                if case .end(_, let retry?) = message { await feed.setReconnectionTime(retry) }
                if case .welcome(_, let heartbeat?) = message, heartbeat > .zero {
                    watch.setLimit(min(heartbeat * 5 / 2, caller.configuration.silenceMax))
                }
                signals += try Signal.signals(of: message)
            }
            if !signals.isEmpty { try await feed.take(signals) }
        }
    }
}

/// A line grew longer than a client takes.
struct LineTooLong: Error, Equatable {
    let limit: Int
}

/// Cuts a stream, fed in pieces of any size, into its lines.
struct LineSplitter {
    private let lineBytesMax: Int
    private var line: [UInt8] = []

    /// Makes a splitter that stands at the beginning of a stream.
    init(lineBytesMax: Int) {
        self.lineBytesMax = lineBytesMax
    }

    /// Takes the next piece of the stream and gives the lines that it ends, without empty ones.
    ///
    /// A line that the end of the stream cuts off is never given.
    mutating func feed(_ piece: [UInt8]) throws(LineTooLong) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var rest = piece[...]
        while let end = rest.firstIndex(of: 0x0A) {
            try extend(rest[..<end])
            if !line.isEmpty { lines.append(line) }
            line = []
            rest = rest[(end + 1)...]
        }
        try extend(rest)
        return lines
    }

    private mutating func extend(_ part: ArraySlice<UInt8>) throws(LineTooLong) {
        guard line.count + part.count <= lineBytesMax else { throw LineTooLong(limit: lineBytesMax) }
        line.append(contentsOf: part)
    }
}
