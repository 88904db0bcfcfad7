/// Lines of input that go to the server in one request.
struct LineBatch: Equatable {
    /// The lines, each with its line break.
    var bytes: [UInt8] = []

    /// The number that each line has in the whole input, counted from 1.
    var lines: [Int] = []
}

/// Cuts input that comes in pieces of any size into batches of whole lines. Blank lines are passed over.
struct LineBatcher {
    private let linesMax: Int
    private let bytesMax: Int
    private let lineBytesMax: Int

    private var partial: [UInt8] = []
    private var batch = LineBatch()
    private var lines = 0

    init(linesMax: Int, bytesMax: Int, lineBytesMax: Int) {
        self.linesMax = linesMax
        self.bytesMax = bytesMax
        self.lineBytesMax = lineBytesMax
    }

    /// Takes the next piece; gives the batches that it filled.
    mutating func feed(_ piece: [UInt8]) throws(InputError) -> [LineBatch] {
        var full: [LineBatch] = []
        var rest = piece[...]
        while let end = rest.firstIndex(of: 0x0A) {
            try extend(rest[..<end])
            rest = rest[(end + 1)...]
            if let batch = endLine() { full.append(batch) }
        }
        try extend(rest)
        return full
    }

    /// Gives the whole lines that wait for a batch to fill; at the end of the input also a line without its break.
    mutating func flush(atEnd: Bool = false) -> LineBatch? {
        var full: LineBatch?
        if atEnd, !partial.isEmpty { full = endLine() }
        // The line just ended cannot have pushed a batch out and left nothing: it stands in the new one.
        if full != nil { return full }
        defer { batch = LineBatch() }
        return batch.lines.isEmpty ? nil : batch
    }

    private mutating func extend(_ part: ArraySlice<UInt8>) throws(InputError) {
        guard partial.count + part.count <= lineBytesMax else {
            throw InputError(description: "Input line \(lines + 1) is longer than \(lineBytesMax) bytes.")
        }
        partial.append(contentsOf: part)
    }

    /// Adds the line to the batch; gives the batch before when the line has no room in it any more.
    private mutating func endLine() -> LineBatch? {
        defer { partial.removeAll(keepingCapacity: true) }
        lines += 1
        guard partial.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { return nil }
        var full: LineBatch?
        if !batch.lines.isEmpty, batch.lines.count >= linesMax || batch.bytes.count + partial.count + 1 > bytesMax {
            full = batch
            batch = LineBatch()
        }
        batch.bytes.append(contentsOf: partial)
        batch.bytes.append(0x0A)
        batch.lines.append(lines)
        return full
    }
}
