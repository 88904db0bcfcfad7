import AsyncHTTPClient
import NIOCore

/// Reads events from a stream of JSON lines.
struct NDJSONTransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    let kind = TransportKind.ndjson

    /// The first line of a stream says where it stands.
    let namesItsStart = true

    func run(_ lane: Lane) async throws -> StreamEnd {
        let stream = StreamRequest(caller: caller, filters: filters, mediaType: "application/x-ndjson")
        return try await stream.run(lane) { body, messages in
            do {
                try await read(body, messages)
            } catch let error as LineTooLong {
                throw HeraldError.tooLarge(what: "A line of the stream", limit: error.limit)
            }
        }
    }

    private func read(_ body: HTTPClientResponse.Body, _ messages: StreamMessages) async throws {
        var splitter = LineSplitter(lineBytesMax: caller.configuration.limits.messageBytesMax)
        var pieces = body.makeAsyncIterator()
        var isProven = false
        while true {
            messages.watch.startWaiting()
            guard let piece = try await pieces.next() else { return }
            messages.watch.stopWaiting()
            let lines = try splitter.feed(Array(piece.readableBytesView))
            guard !lines.isEmpty else { continue }
            try await messages.take(lines, after: isProven ? [] : [.connection(.connected(over: kind))]) { line in
                try messages.signals(of: try ServerMessage(json: line))
            }
            isProven = true
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
