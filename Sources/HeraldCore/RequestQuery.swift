internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldWire

/// One `name=value` of a query, with its escapes undone.
public struct QueryPair: Sendable, Hashable {
    /// The name.
    public let name: String
    /// The value.
    public let value: String

    /// Makes a pair.
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A part of a query that is no text.
public struct QueryFault: Error, Sendable, Hashable {
    /// The name of the pair that is wrong, as far as it can be shown.
    public let name: String
    /// What is wrong with it.
    public let what: String
}

extension Request {
    /// The query's pairs in their order, or what is wrong with the first that is no text.
    public func queryPairs() throws(QueryFault) -> [QueryPair] {
        guard !query.isEmpty else { return [] }
        var pairs: [QueryPair] = []
        let query = unsafe hr_request_query(handle)
        var place = 0
        var name = unsafe hr_slice()
        var value = unsafe hr_slice()
        while unsafe hr_query_next(query, &place, &name, &value) {
            let shown = unsafe Bytes(name, of: self).excerpt()
            let decoded = try unsafe Self.decode(name, of: shown)
            pairs.append(QueryPair(decoded, try unsafe Self.decode(value, of: shown)))
        }
        return pairs
    }

    /// Calls `body` with the name and the value of each pair in their order, escapes undone. What needs no undoing is
    /// looked at where it lies. A pair that is no text is told by `fault`.
    public func forEachQueryPair<Failure: Error>(
        fault: (QueryFault) -> Failure,
        _ body: (_ name: borrowing Bytes, _ value: borrowing Bytes) throws(Failure) -> Void
    ) throws(Failure) {
        guard query.isPlainQuery else {
            let pairs: [QueryPair]
            do throws(QueryFault) { pairs = try queryPairs() } catch { throw fault(error) }
            for pair in pairs {
                try pair.name.withBytes { name throws(Failure) in
                    try pair.value.withBytes { value throws(Failure) in try body(name, value) }
                }
            }
            return
        }
        let query = unsafe hr_request_query(handle)
        var place = 0
        var name = unsafe hr_slice()
        var value = unsafe hr_slice()
        while unsafe hr_query_next(query, &place, &name, &value) {
            try body(unsafe Bytes(name, of: self), unsafe Bytes(value, of: self))
        }
    }

    private static func decode(_ text: hr_slice, of name: String) throws(QueryFault) -> String {
        var buffer = unsafe hr_buf()
        defer { unsafe hr_buf_fini(&buffer) }
        switch unsafe hr_percent_decode(text, true, &buffer) {
        case .ok: break
        case .invalid: throw QueryFault(name: name, what: "has a malformed escape")
        default: throw QueryFault(name: name, what: "is too large")
        }
        let bytes = unsafe UnsafeRawBufferPointer(start: buffer.data, count: buffer.len)
        guard let decoded = unsafe String(validating: bytes, as: UTF8.self) else {
            throw QueryFault(name: name, what: "is not UTF-8")
        }
        return decoded
    }
}

extension Bytes {
    /// Whether a query holds neither escapes nor bytes beyond ASCII.
    fileprivate var isPlainQuery: Bool {
        unsafe buffer.allSatisfy { $0 < 0x80 && $0 != UInt8(ascii: "%") && $0 != UInt8(ascii: "+") }
    }
}
