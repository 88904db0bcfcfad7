import CHeraldBase
import CHeraldWire
import Foundation
import Testing

private func encoded(_ bytes: [UInt8]) -> String {
    let output = unsafe Codec.withSlice(bytes) { slice in unsafe Codec.output { unsafe hr_base64_append($0, slice) } }
    return String(decoding: output.bytes, as: UTF8.self)
}

/// The bytes of a base64 text; nil when it is refused, which must append nothing.
private func decoded(_ text: [UInt8]) -> [UInt8]? {
    let output = unsafe Codec.withSlice(text) { slice in unsafe Codec.output { unsafe hr_base64_decode(slice, $0) } }
    guard output.status == .ok else {
        #expect(output.status == .invalid && output.bytes.isEmpty)
        return nil
    }
    return output.bytes
}

private func decoded(_ text: String) -> [UInt8]? { decoded(Array(text.utf8)) }

struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func `the vectors of RFC 4648 come out both ways`(plain: String, base64: String) {
        #expect(encoded(Array(plain.utf8)) == base64)
        #expect(decoded(base64) == Array(plain.utf8))
    }

    @Test func `every length agrees with another encoder`() {
        var random = CodecRandom(seed: 4648)
        for length in 0..<200 {
            let bytes = random.bytes(length)
            let base64 = encoded(bytes)
            #expect(base64 == Data(bytes).base64EncodedString())
            #expect(decoded(base64) == bytes)
        }
    }

    @Test func `every byte outside the alphabet is refused in every place`() {
        let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for byte in UInt8.min ... .max {
            for place in 0..<8 {
                var text = Array("AAAAAAAA".utf8)
                text[place] = byte
                let isPadding = byte == UInt8(ascii: "=") && place == 7
                #expect((decoded(text) != nil) == (alphabet.contains(byte) || isPadding))
            }
        }
    }

    @Test(arguments: [
        "A", "AA", "AAA", "AAAAA", "=", "====", "A===", "AA=A", "=AAA", "AA==AAAA", "AAA=AAAA", "AAAA====", "AAAA=",
        "AA==\n", " AA==", "AA= =", "AA-_",
    ])
    func `wrong lengths and padding are refused`(text: String) {
        #expect(decoded(text) == nil)
    }

    @Test(arguments: [
        ("AA==", true), ("AB==", false), ("Aw==", true), ("Ax==", false), ("AAA=", true), ("AAB=", false),
        ("AAD=", false),
    ])
    func `an end with spare bits set is refused`(text: String, accepted: Bool) {
        #expect((decoded(text) != nil) == accepted)
    }
}
