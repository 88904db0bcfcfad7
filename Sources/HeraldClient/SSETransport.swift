import AsyncHTTPClient
import NIOCore

/// Reads events from an event stream.
struct SSETransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    let namesItsStart = false

    func run(_ feed: ReaderFeed) async throws -> StreamEnd {
        let request = request(from: await feed.position)
        do {
            return try await SilenceWatch.run(limit: caller.configuration.silenceMax) { watch in
                try await read(request, feed, watch)
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

    private func request(from position: Position) -> HTTPClientRequest {
        var query = filters.map { ("topic", $0) }
        if case .after = position {} else { query.append(("after", position.description)) }
        var request = caller.request(.GET, "/v1/events", query: query)
        request.headers.add(name: "Accept", value: "text/event-stream")
        request.headers.add(name: "Cache-Control", value: "no-store")
        if case .after(let cursor) = position {
            request.headers.add(name: "Last-Event-ID", value: cursor.description)
        }
        return request
    }

    private func read(
        _ request: HTTPClientRequest, _ feed: ReaderFeed, _ watch: SilenceWatch
    ) async throws -> StreamEnd {
        watch.startWaiting()
        let response = try await caller.client.execute(request, deadline: .distantFuture)
        if response.status == .noContent { return .stop }
        guard response.status == .ok else {
            throw HeraldError.problem(Problem(try await caller.collect(response)))
        }
        watch.stopWaiting()
        let contentType = response.headers.first(name: "Content-Type") ?? ""
        guard MediaType.essence(contentType) == "text/event-stream" else {
            throw HeraldError.malformed("an answer of type \"\(contentType)\" where an event stream was expected")
        }
        try await feed.take([.connected])
        let limits = caller.configuration.limits
        var parser = SSEParser(lineBytesMax: limits.lineBytesMax, messageBytesMax: limits.messageBytesMax)
        var pieces = response.body.makeAsyncIterator()
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
