import AsyncHTTPClient
import NIOCore

/// Reads events from an event stream.
struct SSETransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    let namesItsStart = false

    func run(_ feed: ReaderFeed) async throws -> StreamEnd {
        let stream = StreamRequest(caller: caller, filters: filters, mediaType: "text/event-stream")
        do {
            return try await SilenceWatch.run(limit: caller.configuration.silenceMax) { watch in
                guard let body = try await stream.open(at: await feed.position, watch) else { return .stop }
                return try await read(body, feed, watch)
            }
        } catch let error as SSEError {
            switch error {
            case .lineTooLong(let limit): throw HeraldError.tooLarge(what: "A line of the event stream", limit: limit)
            case .messageTooLong(let limit): throw HeraldError.tooLarge(what: "An event", limit: limit)
            }
        } catch {
            throw caller.explain(error)
        }
    }

    private func read(
        _ body: HTTPClientResponse.Body, _ feed: ReaderFeed, _ watch: SilenceWatch
    ) async throws -> StreamEnd {
        try await feed.take([.connected])
        let limits = caller.configuration.limits
        var parser = SSEParser(lineBytesMax: limits.lineBytesMax, messageBytesMax: limits.messageBytesMax)
        var pieces = body.makeAsyncIterator()
        while true {
            watch.startWaiting()
            guard let piece = try await pieces.next() else { return .reconnect }
            watch.stopWaiting()
            let items = try parser.feed(Array(piece.readableBytesView))
            for case .retry(let time) in items { await feed.setReconnectionTime(.milliseconds(time)) }
            try await feed.take(try items.flatMap { try Self.signals(of: $0) })
        }
    }

    /// The signals that one item amounts to.
    static func signals(of item: SSEItem) throws(HeraldError) -> [Signal] {
        switch item {
        case .message(_, let data, _):
            // The event's name and id stand in its JSON as well, and are read from there.
            try Signal.signals(of: try ServerMessage(json: data))
        case .lastEventID(let id):
            Cursor(id).map { [.moved($0)] } ?? []
        case .retry, .comment:
            []
        }
    }
}
