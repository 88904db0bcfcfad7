import Testing

@testable import HeraldClient

@Suite struct JSONTextTests {
    private func isValid(_ text: String) -> Bool { (try? JSONText(bytes: Array(text.utf8)).root()) != nil }

    @Test(arguments: [
        "0", "-0", "1.5e+10", "true", "null", "\"\"", "\"\\u00e9\\n\"", "[]", "{}", " [1, [2, {}], {\"a\":[]}] ",
        "{\"a\":1,\"a\":2}",
    ])
    func `well-formed text is taken`(text: String) { #expect(isValid(text)) }

    @Test(arguments: [
        "", " ", "01", "1.", "-", "+1", ".5", "1e", "tru", "nul", "'a'", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\n\"",
        "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "[}", "{]", "1 2", "]", "NaN",
    ])
    func `malformed text is refused`(text: String) { #expect(!isValid(text)) }

    @Test func `nesting of any depth is read without using the stack`() {
        let depth = 200_000
        #expect(isValid(String(repeating: "[", count: depth) + String(repeating: "]", count: depth)))
    }

    @Test func `an event's data keeps its bytes`() throws {
        let data = "{\"big\":12345678901234567890.10, \"s\":\"\\u0041\"}"
        let json = #"{"id":"5f3a9c1e-1","topic":"t","datacontenttype":"application/json","data":\#(data)}"#
        let event = try Event(json: Array(json.utf8))
        #expect(event.payload == .json(Array(data.utf8)))
    }

    @Test func `data is text, JSON or bytes by how it travelled`() throws {
        func data(_ type: String, _ member: String) throws -> Event.Payload {
            let json = #"{"id":"5f3a9c1e-1","topic":"t","datacontenttype":"\#(type)",\#(member)}"#
            return try Event(json: Array(json.utf8)).payload
        }
        #expect(try data("text/plain", "\"data\":\"a\\n\\ud83d\\ude00\"") == .text("a\n😀"))
        #expect(try data("application/json", "\"data\":\"a\"") == .json(Array("\"a\"".utf8)))
        #expect(try data("application/vnd.x+json; v=1", "\"data\":\"a\"") == .json(Array("\"a\"".utf8)))
        #expect(try data("image/png", "\"data_base64\":\"AP8=\"") == .binary([0, 255]))
    }

    @Test func `an event without an id is refused`() {
        #expect(throws: HeraldError.self) { try Event(json: Array("{\"id\":\"x\",\"topic\":\"t\"}".utf8)) }
    }

    @Test func `an outgoing event becomes one line`() {
        let json = Publication(topic: "a/b", payload: .json(Array("{\n1}".utf8)), type: "x\"y")
        #expect(String(decoding: json.line(), as: UTF8.self) == #"{"topic":"a/b","type":"x\"y","data":{ 1}}"#)
        let text = Publication(topic: "a", payload: .text("l\n\\"), contentType: "text/plain")
        #expect(
            String(decoding: text.line(), as: UTF8.self)
                == #"{"topic":"a","datacontenttype":"text/plain","data":"l\u000a\\"}"#)
        let binary = Publication(topic: "a", payload: .binary([0, 255]))
        #expect(String(decoding: binary.line(), as: UTF8.self) == #"{"topic":"a","data_base64":"AP8="}"#)
    }

    @Test func `a media type is found for data of unknown kind`() {
        #expect(MediaType.fitting(Array("{\"a\":1}".utf8)) == "application/json")
        #expect(MediaType.fitting(Array("hello".utf8)) == "text/plain; charset=utf-8")
        #expect(MediaType.fitting([0xFF, 0xFE]) == "application/octet-stream")
    }
}
