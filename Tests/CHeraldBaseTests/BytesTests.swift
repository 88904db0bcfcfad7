import CHeraldBase
import Testing

/// Lends bytes as a slice; an empty one has no memory at all, as it may.
func withSlice<Result>(_ bytes: [UInt8], _ body: (hr_slice) -> Result) -> Result {
    unsafe bytes.withUnsafeBytes { raw in
        let data = unsafe bytes.isEmpty ? nil : raw.baseAddress?.assumingMemoryBound(to: CChar.self)
        return unsafe body(hr_slice(data: data, len: raw.count))
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers from the same seed.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A buffer of C's, ended with its owner.
@safe private final class Buffer {
    var buf = unsafe hr_buf()

    var bytes: [UInt8] {
        unsafe buf.len == 0 ? [] : Array(UnsafeRawBufferPointer(start: buf.data, count: buf.len))
    }

    func append(parts: [[UInt8]]) -> hr_status {
        // One piece of memory for all, cut into slices.
        let whole = parts.flatMap { $0 }
        return unsafe withSlice(whole) { whole in
            var start = 0
            let slices = unsafe parts.map { part in
                defer { start += part.count }
                return unsafe hr_slice(data: part.isEmpty ? nil : whole.data + start, len: part.count)
            }
            return unsafe hr_buf_append_parts(&buf, slices, slices.count)
        }
    }

    func append(_ bytes: [UInt8]) -> hr_status {
        unsafe withSlice(bytes) { unsafe hr_buf_append_slice(&buf, $0) }
    }

    deinit {
        unsafe hr_buf_fini(&buf)
    }
}

private func both<Result>(_ left: String, _ right: String, _ body: (hr_slice, hr_slice) -> Result) -> Result {
    unsafe withSlice(Array(left.utf8)) { left in unsafe withSlice(Array(right.utf8)) { unsafe body(left, $0) } }
}

private func parse(_ text: String) -> UInt64? {
    var value: UInt64 = 77
    let status = unsafe withSlice(Array(text.utf8)) { unsafe hr_u64_parse($0, &value) }
    #expect(status == .ok || (status == .invalid && value == 77))
    return status == .ok ? value : nil
}

private func format(_ value: UInt64) -> String {
    var out = [CChar](repeating: 0x7E, count: 20)
    let length = unsafe hr_u64_format(value, &out)
    #expect(out.dropFirst(length).allSatisfy { $0 == 0x7E })
    return String(decoding: out.prefix(length).map(UInt8.init), as: UTF8.self)
}

struct BytesTests {
    @Test(arguments: [("", "", true), ("a", "a", true), ("a", "", false), ("ab", "ac", false), ("a", "A", false)])
    func `slices are equal when their bytes are`(left: String, right: String, equal: Bool) {
        #expect(unsafe both(left, right) { unsafe hr_slice_equal($0, $1) } == equal)
        #expect(unsafe both(left, right) { unsafe hr_slice_compare($0, $1) == 0 } == equal)
    }

    @Test func `only ASCII letters compare without case`() {
        for left in UInt8.min ... .max {
            for right in UInt8.min ... .max {
                let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
                let equal = left == right || (left | 0x20 == right | 0x20 && letters.contains(left | 0x20))
                let found = unsafe withSlice([left]) { left in
                    unsafe withSlice([right]) { unsafe hr_slice_equal_nocase(left, $0) }
                }
                #expect(found == equal)
            }
        }
        #expect(unsafe !both("ab", "a") { unsafe hr_slice_equal_nocase($0, $1) })
    }

    @Test(arguments: [("", "", true), ("ab", "", true), ("ab", "ab", true), ("ab", "abc", false), ("ab", "b", false)])
    func `a prefix stands at the beginning`(text: String, prefix: String, found: Bool) {
        #expect(unsafe both(text, prefix) { unsafe hr_slice_has_prefix($0, $1) } == found)
    }

    @Test(arguments: [("", "a"), ("a", "ab"), ("ab", "b"), ("a", "é"), ("Z", "a")])
    func `slices are ordered by bytes, a shorter prefix first`(less: String, greater: String) {
        #expect(unsafe both(less, greater) { unsafe hr_slice_compare($0, $1) } < 0)
        #expect(unsafe both(greater, less) { unsafe hr_slice_compare($0, $1) } > 0)
    }

    @Test func `a buffer holds what was appended less what was consumed`() {
        var random = SeededRandom(seed: 3)
        let buffer = Buffer()
        var expected: [UInt8] = []
        for _ in 0..<2000 {
            if Bool.random(using: &random) {
                let bytes = (0..<Int.random(in: 0...90, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                #expect(buffer.append(bytes) == .ok)
                expected += bytes
            } else {
                let count = Int.random(in: 0...expected.count, using: &random)
                unsafe hr_buf_consume(&buffer.buf, count)
                expected.removeFirst(count)
            }
            #expect(buffer.bytes == expected)
            #expect(unsafe buffer.buf.len <= buffer.buf.cap)
        }
    }

    @Test func `parts are appended in their order`() {
        let buffer = Buffer()
        #expect(buffer.append([9]) == .ok)
        #expect(buffer.append(parts: [[1, 2], [], [3], [4, 5, 6]]) == .ok)
        #expect(buffer.bytes == [9, 1, 2, 3, 4, 5, 6])
        #expect(buffer.append(parts: []) == .ok)
        #expect(buffer.append(parts: [[], []]) == .ok)
        #expect(buffer.bytes.count == 7)
    }

    @Test func `a reservation makes room and leaves the bytes alone`() {
        let buffer = Buffer()
        #expect(buffer.append([1, 2]) == .ok)
        #expect(unsafe hr_buf_reserve(&buffer.buf, 1_000_000) == .ok)
        #expect(unsafe buffer.buf.cap >= 1_000_002)
        #expect(buffer.bytes == [1, 2])
        unsafe hr_buf_fini(&buffer.buf)
        #expect(unsafe buffer.buf.data == nil && buffer.buf.len == 0 && buffer.buf.cap == 0)
    }

    @Test func `a reservation beyond all memory is refused without a change`() {
        let buffer = Buffer()
        #expect(buffer.append([7]) == .ok)
        let cap = unsafe buffer.buf.cap
        for extra in [Int(bitPattern: UInt.max), .max] {
            #expect(unsafe hr_buf_reserve(&buffer.buf, extra) == .outOfMemory)
        }
        #expect(unsafe buffer.buf.cap == cap)
        #expect(buffer.bytes == [7])
    }

    @Test(arguments: [0, 1, 9, 10, 99, 100, 999_999_999, UInt64(UInt32.max), UInt64.max - 1, UInt64.max])
    func `a number is written and read in decimal`(value: UInt64) {
        let buffer = Buffer()
        #expect(format(value) == String(value))
        #expect(parse(String(value)) == value)
        #expect(unsafe hr_buf_append_u64(&buffer.buf, value) == .ok)
        #expect(buffer.bytes == Array(String(value).utf8))
    }

    @Test func `random numbers of every length come back`() {
        var random = SeededRandom(seed: 10)
        for shift in 0..<64 {
            let value = random.next() >> UInt64(shift)
            #expect(parse(format(value)) == value)
        }
    }

    @Test(arguments: [
        "", "+1", "-1", "01", "00", " 1", "1 ", "1.0", "1e3", "0x1", "a", "1a", "18446744073709551616",
        "18446744073709551620", "28446744073709551615", "99999999999999999999", "100000000000000000000", "1\0",
    ])
    func `anything else is no number`(text: String) {
        #expect(parse(text) == nil)
    }

    @Test func `every status has a phrase of its own`() {
        let phrases = (0...hr_status.ioError.rawValue).compactMap { hr_status(rawValue: $0) }.map { status in
            unsafe String(cString: hr_status_text(status))
        }
        #expect(phrases.count == 16)
        #expect(Set(phrases).count == phrases.count)
        #expect(phrases.first == "ok")
    }
}
