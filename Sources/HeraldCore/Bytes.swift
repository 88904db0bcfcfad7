internal import CHeraldBase

// Bytes of the core are looked at where they lie. A view cannot outlive its owner: the compiler keeps it inside the
// owner's borrow, so that no pointer escapes and no String is made of what is only compared or passed on.

/// A view of bytes that belong to something else; it cannot outlive that.
@safe
public struct Bytes: ~Escapable {
    let slice: hr_slice

    /// Makes a view of a slice that stays valid while `owner` is borrowed.
    @_lifetime(borrow owner)
    init<Owner: ~Copyable & ~Escapable>(_ slice: hr_slice, of owner: borrowing Owner) {
        unsafe self.slice = slice
    }

    /// Makes a view of a part of what another view sees.
    @_lifetime(copy whole)
    init(_ slice: hr_slice, within whole: borrowing Bytes) {
        unsafe self.slice = slice
    }

    /// Makes a view of a literal.
    @_lifetime(immortal)
    public init(_ literal: StaticString) {
        unsafe self.slice = hr_slice(literal)
    }

    /// The number of bytes.
    public var count: Int { unsafe slice.len }

    /// Whether there are none.
    public var isEmpty: Bool { unsafe slice.len == 0 }

    /// The bytes as a buffer, for the duration of an expression.
    var buffer: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: slice.data, count: slice.len)
    }

    /// The byte at a place. Precondition: `index` lies within the view.
    public subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < count, "a byte outside the view")
        return unsafe buffer[index]
    }

    /// Whether the view begins with a text.
    public func hasPrefix(_ text: StaticString) -> Bool {
        unsafe hr_slice_has_prefix(slice, hr_slice(text))
    }

    /// Whether the view begins with a text, letters of ASCII compared without case.
    public func hasPrefixIgnoringCase(_ text: StaticString) -> Bool {
        guard count >= text.utf8CodeUnitCount else { return false }
        return unsafe hr_slice_equal_nocase(
            hr_slice(data: slice.data, len: text.utf8CodeUnitCount), hr_slice(text))
    }

    /// The view without its first bytes; empty when there are no more than `length`.
    @_lifetime(copy self)
    public func dropFirst(_ length: Int) -> Bytes {
        let cut = min(max(length, 0), count)
        guard cut > 0, let data = unsafe slice.data else { return self }
        return unsafe Bytes(hr_slice(data: data + cut, len: slice.len - cut), within: self)
    }

    /// The part of the view before the first such byte; all of it when there is none.
    @_lifetime(copy self)
    public func prefix(before byte: UInt8) -> Bytes {
        let end = unsafe buffer.firstIndex(of: byte) ?? count
        return unsafe Bytes(hr_slice(data: slice.data, len: end), within: self)
    }

    /// The view without the spaces and tabs at either end.
    @_lifetime(copy self)
    public func trimmed() -> Bytes {
        guard let data = unsafe slice.data else { return self }
        var start = 0
        var end = count
        while start < end, unsafe buffer[start].isBlank { start += 1 }
        while end > start, unsafe buffer[end - 1].isBlank { end -= 1 }
        return unsafe Bytes(hr_slice(data: data + start, len: end - start), within: self)
    }

    /// Whether the bytes are those of a text.
    public static func == (bytes: borrowing Bytes, text: StaticString) -> Bool {
        unsafe hr_slice_equal(bytes.slice, hr_slice(text))
    }

    /// Whether the bytes are those of a text.
    public func equals(_ text: String) -> Bool {
        unsafe buffer.elementsEqual(text.utf8)
    }

    /// Whether the bytes are those of a text, letters of ASCII compared without case.
    public func equalsIgnoringCase(_ text: StaticString) -> Bool {
        unsafe hr_slice_equal_nocase(slice, hr_slice(text))
    }

    /// The bytes as a whole number: decimal digits only, no sign; nil for anything else, and past the largest `Int`.
    public var decimal: Int? {
        var number = 0
        for index in 0..<count {
            let byte = self[index]
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (tens, isPast) = number.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = tens.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
            guard !isPast, !isOver else { return nil }
            number = sum
        }
        return isEmpty ? nil : number
    }

    /// Whether all bytes are visible ASCII: neither controls, nor spaces, nor anything beyond.
    public var isVisibleASCII: Bool {
        unsafe buffer.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// Whether all bytes are ASCII without controls; spaces are allowed.
    public var isPrintableASCII: Bool {
        unsafe buffer.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
    }

    /// Calls `body` with the bytes where they lie; the buffer is good until it returns.
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe body(buffer)
    }

    /// Feeds the bytes, and how many there are, to a hasher.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(count)
        unsafe hasher.combine(bytes: buffer)
    }

    /// A copy as text; what is not UTF-8 becomes U+FFFD.
    public func text() -> String {
        unsafe String(decoding: buffer, as: UTF8.self)
    }

    /// A copy as text, or nil if the bytes are not UTF-8.
    public func validText() -> String? {
        unsafe String(validating: buffer, as: UTF8.self)
    }

    /// A copy of at most so many bytes as text, for messages; what is not UTF-8 becomes U+FFFD.
    public func excerpt(_ length: Int = 64) -> String {
        guard count > length else { return text() }
        return unsafe String(decoding: buffer.prefix(length), as: UTF8.self) + "..."
    }
}

extension String {
    /// Calls `body` with a view of the text's UTF-8 bytes.
    public func withBytes<Result, Failure: Error>(
        _ body: (borrowing Bytes) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // A loop's closure cannot throw a typed error through the standard library's, so its outcome is carried out.
        var copy = self
        let outcome: Swift.Result<Result, Failure> = copy.withUTF8 { utf8 in
            let data = unsafe UnsafeRawPointer(utf8.baseAddress)?.assumingMemoryBound(to: CChar.self)
            let slice = unsafe hr_slice(data: data, len: utf8.count)
            do throws(Failure) {
                return .success(try unsafe body(Bytes(slice, of: utf8)))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}

extension [UInt8] {
    /// Calls `body` with the bytes as C has them, which are good until it returns.
    func withSlice<Result>(_ body: (hr_slice) -> Result) -> Result {
        unsafe withUnsafeBytes { bytes in
            let data = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe body(hr_slice(data: data, len: bytes.count))
        }
    }
}

extension UInt8 {
    fileprivate var isBlank: Bool { self == 0x20 || self == 0x09 }
}

extension hr_slice {
    /// The bytes of a literal, which never go away.
    init(_ literal: StaticString) {
        let data = unsafe UnsafeRawPointer(literal.utf8Start).assumingMemoryBound(to: CChar.self)
        unsafe self.init(data: data, len: literal.utf8CodeUnitCount)
    }

    /// A copy as text; what is not UTF-8 becomes U+FFFD.
    var text: String {
        unsafe String(decoding: UnsafeRawBufferPointer(start: data, count: len), as: UTF8.self)
    }
}
