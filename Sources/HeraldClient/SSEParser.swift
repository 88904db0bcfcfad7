// Parsing of `text/event-stream` as the WHATWG HTML standard has it (§9.2.6), fed in pieces of any size.
//
// A line may end in CR, LF or CRLF, and each of these may be cut by the end of a piece: a CR ends its line at once,
// and a LF that comes next, in this piece or a later one, is passed over.
//
// Bounded: a line, and the data of one block, may not grow past their limits. The standard has no limit, but a
// server that never ends its line would otherwise fill the client's memory.

/// What one step of an event stream says.
enum SSEItem: Equatable, Sendable {
    /// A block with data: its event name (empty when none was set), its data, lines joined by LF, and its own id.
    case message(name: String, data: [UInt8], id: String?)

    /// A block without data that sets the last event id, as the heartbeats of a stream do.
    case lastEventID(String)

    /// The time to wait before reconnecting, in milliseconds.
    case retry(milliseconds: Int)

    /// A comment: proof of life, nothing else.
    case comment
}

/// Why a stream cannot be read on.
enum SSEError: Error, Equatable {
    case lineTooLong(limit: Int)
    case messageTooLong(limit: Int)
}

/// An incremental parser of one event stream.
struct SSEParser {
    private let lineBytesMax: Int
    private let messageBytesMax: Int

    private var line: [UInt8] = []
    private var afterReturn = false
    private var isFirstLine = true

    private var name = ""
    private var data: [UInt8] = []
    private var hasData = false
    private var blockID: String?

    /// Makes a parser that stands at the beginning of a stream.
    init(lineBytesMax: Int, messageBytesMax: Int) {
        self.lineBytesMax = lineBytesMax
        self.messageBytesMax = messageBytesMax
    }

    /// Takes the next piece of the stream and gives what became complete with it.
    ///
    /// A block that the end of the stream cuts off is never given: it is dropped with the parser, as the standard
    /// asks.
    mutating func feed(_ piece: [UInt8]) throws(SSEError) -> [SSEItem] {
        var items: [SSEItem] = []
        var start = 0
        for at in piece.indices {
            let byte = piece[at]
            if afterReturn {
                afterReturn = false
                if byte == 0x0A {
                    start = at + 1
                    continue
                }
            }
            guard byte == 0x0A || byte == 0x0D else { continue }
            try extendLine(piece[start..<at])
            afterReturn = byte == 0x0D
            start = at + 1
            try endLine(&items)
        }
        try extendLine(piece[start...])
        return items
    }

    private mutating func extendLine(_ part: ArraySlice<UInt8>) throws(SSEError) {
        guard line.count + part.count <= lineBytesMax else { throw .lineTooLong(limit: lineBytesMax) }
        line.append(contentsOf: part)
    }

    private mutating func endLine(_ items: inout [SSEItem]) throws(SSEError) {
        defer { line.removeAll(keepingCapacity: line.capacity <= 65_536) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        }
        guard let first = line.first else {
            endBlock(&items)
            return
        }
        guard first != UInt8(ascii: ":") else {
            items.append(.comment)
            return
        }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = line[colon...].dropFirst()
        if value.first == 0x20 { value = value.dropFirst() }
        try field(line[..<colon], value, &items)
    }

    private mutating func field(
        _ fieldName: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>, _ items: inout [SSEItem]
    ) throws(SSEError) {
        switch String(decoding: fieldName, as: UTF8.self) {
        case "data":
            guard data.count + value.count + 1 <= messageBytesMax else {
                throw .messageTooLong(limit: messageBytesMax)
            }
            if hasData { data.append(0x0A) }
            data.append(contentsOf: value)
            hasData = true
        case "event":
            name = String(decoding: value, as: UTF8.self)
        case "id":
            // An id that contains U+0000 is passed over: the standard has it so, as no header could send it back.
            if !value.contains(0) { blockID = String(decoding: value, as: UTF8.self) }
        case "retry":
            let isNumber = !value.isEmpty && value.allSatisfy { (0x30...0x39).contains($0) }
            if isNumber, let time = Int(String(decoding: value, as: UTF8.self)) {
                items.append(.retry(milliseconds: time))
            }
        default:
            break
        }
    }

    private mutating func endBlock(_ items: inout [SSEItem]) {
        if hasData {
            items.append(.message(name: name, data: data, id: blockID))
        } else if let blockID {
            items.append(.lastEventID(blockID))
        }
        blockID = nil
        name = ""
        data = []
        hasData = false
    }
}
