import Testing

@testable import HeraldClient

@Suite struct SSEParserTests {
    private func parse(_ pieces: [[UInt8]]) throws -> [SSEItem] {
        var parser = SSEParser(lineBytesMax: 1_000, messageBytesMax: 1_000)
        var items: [SSEItem] = []
        for piece in pieces { items += try parser.feed(piece) }
        return items
    }

    private func parse(_ text: String) throws -> [SSEItem] { try parse([Array(text.utf8)]) }

    private func message(_ data: String, name: String = "", id: String? = nil) -> SSEItem {
        .message(name: name, data: Array(data.utf8), id: id)
    }

    @Test func `data lines of a block are joined by line feeds`() throws {
        #expect(try parse("data: one\ndata:two\ndata\n\n") == [message("one\ntwo\n")])
    }

    @Test func `only one space after the colon is taken away`() throws {
        #expect(try parse("data:  two spaces\n\n") == [message(" two spaces")])
    }

    @Test func `a block without data only moves the last event id`() throws {
        #expect(try parse(": hb\nid: 5f3a9c1e-7\n\n") == [.comment, .lastEventID("5f3a9c1e-7")])
    }

    @Test func `an event carries its name and id`() throws {
        let items = try parse("id: 1\nevent: x\ndata: d\n\ndata: e\n\n")
        #expect(items == [message("d", name: "x", id: "1"), message("e")])
    }

    @Test func `an id with a zero byte is passed over`() throws {
        #expect(try parse("id: a\0b\ndata: d\n\n") == [message("d")])
    }

    @Test func `a retry counts when it is digits only`() throws {
        #expect(try parse("retry: 2000\nretry: 2s\nretry:\nretry: -1\n\n") == [.retry(milliseconds: 2000)])
    }

    @Test func `a byte order mark at the beginning is passed over, a later one is not`() throws {
        #expect(try parse("\u{FEFF}data: a\n\n\u{FEFF}data: b\n\n") == [message("a")])
    }

    @Test func `unknown fields and an unfinished block are passed over`() throws {
        #expect(try parse("foo: bar\ndata: whole\n\ndata: unfinished\n") == [message("whole")])
    }

    @Test(arguments: ["\n", "\r", "\r\n"])
    func `every line ending works, wherever the stream is cut`(ending: String) throws {
        let lines = ["id: 1", "event: é", "data: {\"a\":1}", "data: ü", "", ": c", "retry: 5", "data: z", "", ""]
        let text = Array(lines.joined(separator: ending).utf8)
        let whole = try parse([text])
        #expect(whole.count == 4)
        for cut in 0...text.count {
            #expect(try parse([Array(text[..<cut]), Array(text[cut...])]) == whole)
        }
        #expect(try parse(text.map { [$0] }) == whole)
    }

    @Test func `a line that grows past its limit is refused, complete or not`() throws {
        var parser = SSEParser(lineBytesMax: 10, messageBytesMax: 1_000)
        let items = try parser.feed(Array("data: 1234\n\n".utf8))
        #expect(items == [message("1234")])
        #expect(throws: SSEError.lineTooLong(limit: 10)) { try parser.feed(Array("data: 12345".utf8)) }
    }

    @Test func `data that grows past its limit over many lines is refused`() {
        var parser = SSEParser(lineBytesMax: 100, messageBytesMax: 8)
        #expect(throws: SSEError.messageTooLong(limit: 8)) { try parser.feed(Array("data: 1234\ndata: 5678\n".utf8)) }
    }
}
