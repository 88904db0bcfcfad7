import HeraldCore
import Testing

@Suite struct BytesTests {
    @Test func `a view compares with literals`() {
        let text = "text/Plain"
        #expect(text.withBytes { $0 == "text/Plain" })
        #expect(!text.withBytes { $0 == "text/plain" })
        #expect(text.withBytes { $0.equalsIgnoringCase("TEXT/plain") })
        #expect(text.withBytes { $0.hasPrefix("text/") })
        #expect(!text.withBytes { $0.hasPrefix("text/Plain/") })
        #expect(text.withBytes { $0.equals(text) })
    }

    @Test func `a view is cut without copying`() {
        let text = "/v1/events/a/b; q=1"
        #expect(text.withBytes { $0.dropFirst(11).text() } == "a/b; q=1")
        #expect(text.withBytes { $0.dropFirst(100).isEmpty })
        #expect(text.withBytes { $0.dropFirst(11).prefix(before: UInt8(ascii: ";")).text() } == "a/b")
        #expect(text.withBytes { $0.prefix(before: UInt8(ascii: "?")).count } == text.utf8.count)
        #expect(" \t a b\t ".withBytes { $0.trimmed().text() } == "a b")
        #expect("".withBytes { $0.trimmed().dropFirst(3).isEmpty })
    }

    @Test func `what may stand in headers is told apart`() {
        #expect("a.b".withBytes { $0.isVisibleASCII })
        #expect("a b".withBytes { !$0.isVisibleASCII && $0.isPrintableASCII })
        #expect("a\tb".withBytes { !$0.isPrintableASCII })
        #expect("ü".withBytes { !$0.isPrintableASCII })
    }

    @Test(
        arguments: [
            ("0", 0), ("007", 7), ("9223372036854775807", Int.max), ("9223372036854775808", nil), ("", nil),
            ("-1", nil),
            ("+1", nil), ("1.5", nil), ("99999999999999999999", nil), ("1 ", nil), ("\u{0661}", nil),
        ] as [(String, Int?)])
    func `a whole number is digits and nothing else`(text: String, number: Int?) {
        #expect(text.withBytes { $0.decimal } == number)
    }

    @Test func `an excerpt says that there is more`() {
        #expect("abcdef".withBytes { $0.excerpt(3) } == "abc...")
        #expect("abcdef".withBytes { $0.excerpt(6) } == "abcdef")
    }
}
