import CHeraldBase
import CHeraldWire
import Testing

/// A command in safe terms.
private struct Command: Equatable {
    var op = hr_command_op.HR_COMMAND_PING
    var ref = ""
    var filters: [String] = []
    var after = ""
    var token = ""
    var topic = ""
    var type = ""
    var contentType = ""
    var data = ""
}

/// What is said of a message that is no command, and the ref that can be answered all the same.
private struct Refusal: Error, Equatable {
    var what: String
    var ref = ""
    var isSyntax = false
    var line: UInt32 = 1
    var column: UInt32 = 0
}

private func parse(_ message: String) throws(Refusal) -> Command {
    let result: Result<Command, Refusal> = unsafe Codec.withSlice(message) { message in
        var command = unsafe hr_command()
        var error = hr_batch_error()
        let status = unsafe hr_command_parse(message, &command, &error)
        defer { unsafe hr_command_fini(&command) }
        let ref = unsafe Codec.text(command.ref)
        guard status == .ok else {
            #expect(status == .invalid)
            let (line, column) = (error.line, error.column)
            return .failure(
                Refusal(what: Codec.what(error), ref: ref, isSyntax: error.is_syntax, line: line, column: column))
        }
        let publication = unsafe command.publication
        return .success(
            Command(
                op: unsafe command.op, ref: ref,
                filters: unsafe (0..<command.filter_count).map { unsafe Codec.text(command.filters[$0]) },
                after: unsafe Codec.text(command.after), token: unsafe Codec.text(command.token),
                topic: unsafe Codec.text(publication.topic),
                type: unsafe Codec.text(publication.type), contentType: unsafe Codec.text(publication.content_type),
                data: unsafe Codec.text(publication.data)))
    }
    return try result.get()
}

private func topics(_ count: Int) -> String {
    "[\((0..<count).map { "\"t/\($0)\"" }.joined(separator: ","))]"
}

struct CommandTests {
    @Test func `each op is read with what goes with it`() throws {
        #expect(try parse(#"{"op":"ping"}"#) == Command())
        #expect(
            try parse(#"{"op":"renew","ref":7,"token":"a\u002eb"}"#)
                == Command(op: .HR_COMMAND_RENEW, ref: "7", token: "a.b"))
        #expect(try parse(#" {"ref":1,"op":"p\u0069ng"} "#) == Command(ref: "1"))
        #expect(
            try parse(#"{"op":"subscribe","ref":"r","topics":["a/*","b\/**"],"after":"5f3a9c1e-42"}"#)
                == Command(op: .HR_COMMAND_SUBSCRIBE, ref: #""r""#, filters: ["a/*", "b/**"], after: "5f3a9c1e-42"))
        #expect(
            try parse(#"{"op":"subscribe","topic":"a","after":"earl\u0069est"}"#)
                == Command(op: .HR_COMMAND_SUBSCRIBE, filters: ["a"], after: "earliest"))
        #expect(
            try parse(#"{"op":"unsubscribe","topics":["a","a",""]}"#)
                == Command(op: .HR_COMMAND_UNSUBSCRIBE, filters: ["a", "a", ""]))
        #expect(
            try parse(#"{"op":"publish","ref":-7,"topic":"a\/b","type":"t","data":"\u00e9"}"#)
                == Command(
                    op: .HR_COMMAND_PUBLISH, ref: "-7", topic: "a/b", type: "t", contentType: "text/plain", data: "é"))
        #expect(
            try parse(#"{"op":"publish","topic":"a","datacontenttype":"text/html","data_base64":"aGk="}"#)
                == Command(op: .HR_COMMAND_PUBLISH, topic: "a", contentType: "text/html", data: "hi"))
    }

    @Test(arguments: [
        (#"{"ref":1}"#, "op is missing"),
        (#"{"ref":1,"op":"Ping"}"#, "op must be subscribe, unsubscribe, publish, ping or renew"),
        (#"{"ref":1,"op":1}"#, "op must be subscribe, unsubscribe, publish, ping or renew"),
        (#"{"ref":1,"op":"ping","op":"ping"}"#, "op is given twice"),
        (#"{"ref":1,"op":"ping","ref":1}"#, "ref is given twice"),
        (#"{"op":"renew","ref":1}"#, "token is missing"),
        (#"{"op":"renew","ref":1,"token":""}"#, "token must not be empty"),
        (#"{"op":"renew","ref":1,"token":7}"#, "token must be a string"),
        (#"{"op":"renew","ref":1,"token":"secret","token":"x"}"#, "token is given twice"),
        (#"{"op":"ping","ref":1,"token":"secret"}"#, "token does not go with op \"ping\""),
        (#"{"op":"renew","ref":1,"token":"secret","topic":"a"}"#, "topic does not go with op \"renew\""),
        (#"{"op":"ping","x":2,"ref":1}"#, #"unknown member "x" for op "ping""#),
        (#"{"op":"ping","topic":"a","ref":1}"#, #"topic does not go with op "ping""#),
        (#"{"op":"subscribe","topic":"a","data":1,"ref":1}"#, #"unknown member "data" for op "subscribe""#),
        (#"{"op":"unsubscribe","topic":"a","after":"latest","ref":1}"#, #"after does not go with op "unsubscribe""#),
        (#"{"op":"publish","topic":"a","data":1,"after":"latest","ref":1}"#, #"unknown member "after""#),
        (#"{"op":"publish","topics":["a"],"data":1,"ref":1}"#, #"unknown member "topics""#),
        (#"{"op":"publish","data":1,"ref":1}"#, "topic is missing"),
        (#"{"op":"publish","topic":"a","ref":1}"#, "data or data_base64 is missing"),
        (
            #"{"op":"publish","topic":"a","data":1,"type":"a b","ref":1}"#,
            "type must be 1 to 128 bytes of printable ASCII without spaces"
        ),
        (#"{"op":"subscribe","ref":1}"#, "topic or topics is missing"),
        (#"{"op":"unsubscribe","ref":1}"#, "topic or topics is missing"),
        (#"{"op":"subscribe","topic":"a","topics":["a"],"ref":1}"#, "topic and topics exclude each other"),
        (#"{"op":"subscribe","topics":"a","ref":1}"#, "topics must be an array of strings"),
        (#"{"op":"subscribe","topics":["a",1],"ref":1}"#, "every one of topics must be a string"),
        (#"{"op":"subscribe","topic":["a"],"ref":1}"#, "topic must be a string"),
        (#"{"op":"subscribe","topics":[],"ref":1}"#, "topics must name 1 to 256 filters"),
        (#"{"op":"subscribe","topic":"a","after":1,"ref":1}"#, "after must be a string"),
        (#"{"op":"subscribe","topic":"a","after":"","ref":1}"#, "after must not be empty"),
    ])
    func `a mistake is named and answered to its ref`(message: String, what: String) {
        #expect(throws: Refusal(what: what, ref: "1")) { try parse(message) }
    }

    @Test func `what is no JSON is refused at its place`() {
        #expect(throws: Refusal(what: "unexpected end of text", isSyntax: true, column: 1)) { try parse("") }
        #expect(throws: Refusal(what: "expected a value", isSyntax: true, line: 2, column: 6)) {
            try parse("{\"ref\":1,\n\"op\":}")
        }
        #expect(throws: Refusal(what: "unexpected text behind the value", isSyntax: true, column: 3)) {
            try parse("{}{}")
        }
        #expect(throws: Refusal(what: "a command must be a JSON object")) { try parse(#"["ping"]"#) }
    }

    @Test(arguments: [
        "0", "-1", "9007199254740993", #""""#, #""a\nb""#, "\"é\"", #""\ud83d\ude00""#,
        "\"\(String(repeating: "r", count: 64))\"", "\"\(String(repeating: #"\u0072"#, count: 64))\"",
        String(repeating: "1", count: 64),
    ])
    func `a ref is echoed as it came`(ref: String) throws {
        #expect(try parse(#"{"op":"ping","ref":\#(ref)}"#).ref == ref)
    }

    @Test(arguments: [
        "null", "true", "1.0", "1e3", "[]", "{}", "\"\(String(repeating: "r", count: 65))\"",
        "\"\(String(repeating: "é", count: 33))\"", String(repeating: "1", count: 65),
    ])
    func `a ref of another kind or length is refused`(ref: String) {
        #expect(throws: Refusal(what: "ref must be an integer or a string of at most 64 bytes")) {
            try parse(#"{"op":"ping","ref":\#(ref)}"#)
        }
    }

    @Test func `one message names up to 256 filters`() throws {
        let most = try parse(#"{"op":"subscribe","topics":\#(topics(256))}"#)
        #expect(most.filters == (0..<256).map { "t/\($0)" })
        for count in [257, 5000] {
            #expect(throws: Refusal(what: "topics must name 1 to 256 filters")) {
                try parse(#"{"op":"subscribe","topics":\#(topics(count))}"#)
            }
        }
    }

    @Test func `filters that must be decoded stay what they were`() throws {
        let escaped = (0..<256).map { "\"t\\/\($0)\\u00e9\"" }.joined(separator: ",")
        #expect(try parse(#"{"op":"unsubscribe","topics":[\#(escaped)]}"#).filters == (0..<256).map { "t/\($0)é" })
    }
}
