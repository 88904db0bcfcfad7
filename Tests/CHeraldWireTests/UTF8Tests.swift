import CHeraldWire
import Testing

private func valid(_ bytes: [UInt8]) -> Bool { unsafe Codec.withSlice(bytes) { unsafe hr_utf8_valid($0) } }

/// How many bytes an incremental check takes before it fails; nil when it does not. `complete`: may the text end.
private func fed(_ pieces: [[UInt8]]) -> (failedAfter: Int?, complete: Bool) {
    var utf8 = hr_utf8()
    var count = 0
    for piece in pieces {
        count += piece.count
        if !(unsafe Codec.withSlice(piece) { unsafe hr_utf8_feed(&utf8, $0.data, $0.len) }) { return (count, false) }
    }
    return unsafe (nil, hr_utf8_complete(&utf8))
}

/// Bytes at which a rule of UTF-8 begins or ends.
private let edges: [UInt8] = [
    0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0,
    0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
]

struct UTF8Tests {
    @Test func `every code point is valid and every surrogate is not`() {
        var refused = 0
        for value in UInt32(0)...0x10FFFF {
            if let scalar = Unicode.Scalar(value) {
                refused += valid(Array(String(scalar).utf8)) ? 0 : 1
            }
        }
        #expect(refused == 0)
        for value in UInt32(0xD800)...0xDFFF {
            let bytes = [0xE0 | value >> 12, 0x80 | value >> 6 & 0x3F, 0x80 | value & 0x3F].map { UInt8($0) }
            refused += valid(bytes) ? 0 : 1
        }
        #expect(refused == 2048)
    }

    @Test func `every pair of bytes agrees with another decoder`() {
        var differing = 0
        for first in UInt8.min ... .max {
            for second in UInt8.min ... .max {
                let bytes = [first, second]
                differing += valid(bytes) == (String(validating: bytes, as: UTF8.self) != nil) ? 0 : 1
            }
        }
        #expect(differing == 0)
    }

    @Test func `every run of three or four edge bytes agrees with another decoder`() {
        var differing = 0
        for first in edges where first >= 0x80 {
            for second in edges {
                for third in edges {
                    let three = [first, second, third]
                    differing += valid(three) == (String(validating: three, as: UTF8.self) != nil) ? 0 : 1
                    guard first >= 0xE0 else { continue }
                    for fourth in edges {
                        let four = three + [fourth]
                        differing += valid(four) == (String(validating: four, as: UTF8.self) != nil) ? 0 : 1
                    }
                }
            }
        }
        #expect(differing == 0)
    }

    @Test func `it fails at the first byte that nothing could make valid`() {
        let continuations: [UInt8] = [0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF]
        func completable(_ bytes: [UInt8], within rest: Int) -> Bool {
            String(validating: bytes, as: UTF8.self) != nil
                || rest > 0 && continuations.contains { completable(bytes + [$0], within: rest - 1) }
        }
        for first in edges {
            #expect((fed([[first]]).failedAfter == nil) == completable([first], within: 3), "\(first)")
            guard completable([first], within: 3) else { continue }
            for second in edges {
                let expected = completable([first, second], within: 3)
                #expect((fed([[first], [second]]).failedAfter == nil) == expected, "\(first) \(second)")
            }
        }
    }

    @Test func `a bad byte is found at any place of a long text`() {
        for length in 1...70 {
            for place in 0..<length {
                var bytes = [UInt8](repeating: 0x61, count: length)
                #expect(valid(bytes))
                bytes[place] = 0x80
                #expect(!valid(bytes))
            }
        }
    }

    @Test func `a text cut anywhere is judged the same`() {
        let texts: [[UInt8]] = [
            Array("plain text that is longer than four machine words, so that they are used".utf8),
            Array("κόσμε – 日本語 – 😀 – é".utf8), [0xF4, 0x90, 0x80, 0x80], [0x61, 0xED, 0xA0, 0x80],
            [0xCE, 0xBA, 0xE1, 0xBD], [],
        ]
        for text in texts {
            let bytewise = fed(text.map { [$0] })
            #expect((bytewise.failedAfter == nil && bytewise.complete) == valid(text))
            for place in 0...text.count {
                let cut = fed([Array(text[..<place]), Array(text[place...])])
                #expect((cut.failedAfter == nil) == (bytewise.failedAfter == nil))
                #expect(cut.complete == bytewise.complete)
            }
        }
    }

    @Test func `a text may end only after a whole character`() {
        #expect(fed([]).complete)
        for text in ["é", "€", "😀"] {
            let bytes = Array(text.utf8)
            for place in 1..<bytes.count {
                let cut = fed([Array(bytes[..<place])])
                #expect(cut.failedAfter == nil && !cut.complete)
            }
            #expect(fed([bytes]).complete)
        }
    }
}
