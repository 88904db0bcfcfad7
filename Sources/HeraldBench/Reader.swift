import NIOCore
import NIOHTTP1

/// A reader of a measurement's events.
///
/// Thread: the loop's.
protocol Reader: AnyObject {
    /// Connects, and reads from then on what lies after the cursor. Done when the server has taken the reader in.
    func open(after cursor: String) -> EventLoopFuture<Void>

    /// Parts with the server. Done when the connection is closed.
    func close() -> EventLoopFuture<Void>
}

/// A reader was closed before the server had taken it in.
struct ReaderClosed: Error {}

/// What all readers of a measurement have in common.
struct ReaderContext {
    let connector: Connector
    let ledger: Ledger
    let plan: BenchPlan
    let topic: String

    /// Makes the reader of this number.
    func reader(_ index: Int, _ transport: BenchTransport) -> any Reader {
        switch transport {
        case .poll: PollReader(self, index, isHeld: false)
        case .longpoll: PollReader(self, index, isHeld: true)
        case .sse: StreamReader(self, index, mediaType: "text/event-stream")
        case .ndjson: StreamReader(self, index, mediaType: "application/x-ndjson")
        case .ws: WebSocketReader(self, index)
        }
    }

    /// The head of a request for the topic's events.
    func head(_ query: [(String, String)] = []) -> HTTPRequestHead {
        connector.head(.GET, "/v1/events/" + topic, query: query)
    }
}

/// Finds events in what a reader gets, and enters them.
struct Reception {
    let ledger: Ledger
    let reader: Int
    private var scanner = StampScanner()

    init(_ ledger: Ledger, reader: Int) {
        self.ledger = ledger
        self.reader = reader
    }

    /// Takes bytes that came at a time; gives the number of events that they completed.
    @discardableResult
    mutating func take(_ bytes: ByteBuffer, at time: NIODeadline) -> Int {
        let (ledger, reader) = (ledger, reader)
        var count = 0
        scanner.feed(bytes.readableBytesView) { event in
            ledger.receive(event, by: reader, at: time)
            count += 1
        }
        return count
    }
}
