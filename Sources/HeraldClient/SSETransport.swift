import AsyncHTTPClient
import NIOCore

/// Reads events from an event stream.
struct SSETransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    let kind = TransportKind.serverSentEvents
    let namesItsStart = false

    func run(_ lane: Lane) async throws -> StreamEnd {
        let stream = StreamRequest(caller: caller, filters: filters, mediaType: "text/event-stream")
        return try await stream.run(lane) { body, messages in
            do {
                try await read(body, messages)
            } catch SSEError.lineTooLong(let limit) {
                throw HeraldError.tooLarge(what: "A line of the event stream", limit: limit)
            } catch SSEError.messageTooLong(let limit) {
                throw HeraldError.tooLarge(what: "An event", limit: limit)
            }
        }
    }

    private func read(_ body: HTTPClientResponse.Body, _ messages: StreamMessages) async throws {
        let limits = caller.configuration.limits
        var parser = SSEParser(lineBytesMax: limits.lineBytesMax, messageBytesMax: limits.messageBytesMax)
        var pieces = body.makeAsyncIterator()
        var isProven = false
        while true {
            messages.watch.startWaiting()
            guard let piece = try await pieces.next() else { return }
            messages.watch.stopWaiting()
            let items = try parser.feed(Array(piece.readableBytesView))
            guard !items.isEmpty else { continue }
            try await messages.take(items, after: isProven ? [] : [.connection(.connected(over: kind))]) { item in
                try Self.signals(of: item, messages)
            }
            isProven = true
        }
    }

    /// The signals that one item amounts to.
    private static func signals(of item: SSEItem, _ messages: StreamMessages) throws(HeraldError) -> [Signal] {
        switch item {
        case .message(_, let data, _):
            // The event's name and id stand in its JSON as well, and are read from there.
            return try messages.signals(of: try ServerMessage(json: data))
        case .lastEventID(let id):
            return Cursor(id).map { [.moved($0)] } ?? []
        case .retry(let milliseconds):
            messages.lane.setReconnectionTime(.milliseconds(milliseconds))
            return []
        case .comment:
            return []
        }
    }
}
