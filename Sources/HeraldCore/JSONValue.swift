internal import CHeraldBase
internal import CHeraldWire

/// A value of JSON text (RFC 8259), as the core's strict scanner reads it; no object has a member twice.
///
/// What the scanner bounds is bounded here: nesting by `HR_JSON_DEPTH_MAX`, the rest by the length of the text.
public indirect enum JSONValue: Sendable, Hashable {
    /// `null`
    case null
    /// `true` or `false`
    case truth(Bool)
    /// A number, as it is written: to round it is the reader's decision.
    case number(String)
    /// A string, its escapes resolved.
    case text(String)
    /// An array.
    case list([JSONValue])
    /// An object, its members in their order.
    case object([Member])

    /// A member of an object.
    public struct Member: Sendable, Hashable {
        /// The name.
        public let name: String

        /// The value.
        public let value: JSONValue
    }

    /// Reads bytes that are one value.
    public init(parsing bytes: borrowing Bytes) throws(JSONFault) {
        var cursor = unsafe hr_json_cursor()
        var value = unsafe hr_json_value()
        unsafe hr_json_begin(&cursor, bytes.slice)
        guard unsafe hr_json_value_read(&cursor, &value) == .ok, unsafe hr_json_end(&cursor) == .ok else {
            throw unsafe JSONFault(what: cursor.error.what.map { unsafe String(cString: $0) } ?? "is no JSON")
        }
        self = try unsafe JSONValue(value)
    }

    /// Reads bytes that are one value.
    public init(parsing bytes: [UInt8]) throws(JSONFault) {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw JSONFault(what: "invalid UTF-8") }
        self = try text.withBytes { (bytes) throws(JSONFault) in try JSONValue(parsing: bytes) }
    }

    /// The value of an object's member; nil if this is no object or has no such member.
    public subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The text, if this is one.
    public var asText: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// The items, if this is a list.
    public var asList: [JSONValue]? {
        if case .list(let items) = self { items } else { nil }
    }

    /// Takes a value that the scanner has validated, so that walking it cannot fail.
    private init(_ value: hr_json_value) throws(JSONFault) {
        switch unsafe value.kind {
        case .HR_JSON_NULL: self = .null
        case .HR_JSON_BOOL: self = unsafe .truth(value.raw.len == 4)
        case .HR_JSON_NUMBER: self = unsafe .number(value.raw.text)
        case .HR_JSON_STRING: self = .text(try unsafe Self.string(value.raw))
        case .HR_JSON_ARRAY:
            var items: [JSONValue] = []
            var item = unsafe hr_json_value()
            var place = 0
            while unsafe hr_json_array_next(value, &place, &item) { items.append(try unsafe JSONValue(item)) }
            self = .list(items)
        case .HR_JSON_OBJECT:
            self = .object(try unsafe Self.members(of: value))
        @unknown default: throw JSONFault(what: "a value of no known kind")
        }
    }

    private static func members(of object: hr_json_value) throws(JSONFault) -> [Member] {
        var members: [Member] = []
        var names: Set<String> = []
        var value = unsafe hr_json_value()
        var key = unsafe hr_slice()
        var place = 0
        while unsafe hr_json_object_next(object, &place, &key, &value) {
            let name = try unsafe string(key)
            guard names.insert(name).inserted else { throw JSONFault(what: "a member given twice") }
            members.append(Member(name: name, value: try unsafe JSONValue(value)))
        }
        return members
    }

    /// The text that a validated string stands for.
    private static func string(_ raw: hr_slice) throws(JSONFault) -> String {
        var text = unsafe hr_buf()
        defer { unsafe hr_buf_fini(&text) }
        guard unsafe hr_json_string_decode(raw, &text) == .ok else {
            throw JSONFault(what: "a string that memory is too short for")
        }
        return unsafe hr_slice(data: text.data, len: text.len).text
    }
}

/// What is wrong with a JSON text.
public struct JSONFault: Error, Sendable, Hashable {
    /// What is wrong, e.g. "expected a colon"; nothing of the text itself.
    public let what: String
}
