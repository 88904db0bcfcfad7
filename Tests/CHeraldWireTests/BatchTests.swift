import CHeraldBase
import CHeraldWire
import Foundation
import Testing

/// A publication in safe terms.
private struct Item: Equatable {
    var topic = ""
    var type = ""
    var contentType = ""
    var data = ""
    var line: UInt32 = 0

    init(_ topic: String, type: String = "", _ contentType: String, _ data: String, line: UInt32 = 0) {
        (self.topic, self.type, self.contentType, self.data, self.line) = (topic, type, contentType, data, line)
    }

    init(_ publication: hr_publication, line: UInt32) {
        unsafe (topic, type) = (Codec.text(publication.topic), Codec.text(publication.type))
        unsafe (contentType, data) = (Codec.text(publication.content_type), Codec.text(publication.data))
        self.line = line
    }
}

private struct Refusal: Error, Equatable {
    var status = hr_status.invalid
    var isSyntax = false
    var what = ""
    var line: UInt32 = 1
    var column: UInt32 = 0
    var index: UInt32 = 0

    init(_ what: String, isSyntax: Bool = false, line: UInt32 = 1, column: UInt32 = 0, index: UInt32 = 0) {
        (self.what, self.isSyntax) = (what, isSyntax)
        (self.line, self.column, self.index) = (line, column, index)
    }

    init(_ status: hr_status, _ error: hr_batch_error) {
        (self.status, isSyntax) = (status, error.is_syntax)
        (line, column, index) = (error.line, error.column, error.index)
        what = Codec.what(error)
    }
}

private func parse(_ body: [UInt8], _ format: hr_batch_format, max: Int = 1000) throws(Refusal) -> [Item] {
    let result: Result<[Item], Refusal> = unsafe Codec.withSlice(body) { body in
        var batch: OpaquePointer?
        var error = hr_batch_error()
        let status = unsafe hr_batch_parse(body, format, max, &batch, &error)
        guard status == .ok else {
            #expect(unsafe batch == nil)
            return .failure(Refusal(status, error))
        }
        defer { unsafe hr_batch_free(&batch) }
        let items = unsafe (0..<hr_batch_count(batch)).map { index in
            unsafe Item(hr_batch_item(batch, index).pointee, line: hr_batch_line(batch, index))
        }
        return .success(items)
    }
    return try result.get()
}

private func parse(_ body: String, _ format: hr_batch_format, max: Int = 1000) throws(Refusal) -> [Item] {
    try parse(Array(body.utf8), format, max: max)
}

/// One event in our own format.
private func one(_ object: String) throws(Refusal) -> Item { try parse("[\(object)]", .HR_BATCH_JSON_ARRAY)[0] }

/// A CloudEvent with members besides the required ones, or in their place.
private func cloudEvent(_ more: String = "", without name: String = "") -> String {
    let required = ["specversion": "1.0", "id": "1", "source": "/s", "type": "t"].filter { $0.key != name }
    return
        "{\(([more] + required.map { "\"\($0)\":\"\($1)\"" }.sorted()).filter { !$0.isEmpty }.joined(separator: ","))}"
}

private func cloud(_ object: String) throws(Refusal) -> Item { try parse(object, .HR_BATCH_CLOUDEVENT)[0] }

struct BatchTests {
    @Test func `NDJSON is an event a line with blank lines skipped`() throws {
        let body = """
            {"topic":"a","data":"x"}\r
            \t \r

            {"topic":"b/c","type":"t","data":{"n":[1, 2]}}
              {"data_base64":"AAH/","topic":"d","datacontenttype":"image/png"}
            """
        let items = try parse(body, .HR_BATCH_NDJSON)
        #expect(items[0] == Item("a", "text/plain", "x", line: 1))
        #expect(items[1] == Item("b/c", type: "t", "application/json", #"{"n":[1, 2]}"#, line: 4))
        #expect(items[2] == Item("d", "image/png", "\u{0}\u{1}\u{FFFD}", line: 5))
        #expect(items.count == 3)
        #expect(try parse(body + "\n", .HR_BATCH_NDJSON) == items)
    }

    @Test func `a JSON array is an event an item`() throws {
        let items = try parse(
            " [ {\"topic\":\"a\",\"data\":1} ,\n{\"topic\":\"b\",\"data\":null}]\n", .HR_BATCH_JSON_ARRAY)
        #expect(items == [Item("a", "application/json", "1"), Item("b", "application/json", "null")])
    }

    @Test(arguments: [
        (#""data":"x""#, "text/plain", "x"), (#""data":"""#, "text/plain", ""),
        (#""data":"a\n\u00e9""#, "text/plain", "a\né"),
        (#""data":true"#, "application/json", "true"), (#""data":null"#, "application/json", "null"),
        (#""data": { "a" : 1 } "#, "application/json", #"{ "a" : 1 }"#),
        (#""data":"x\n","datacontenttype":"application/json""#, "application/json", #""x\n""#),
        (#""datacontenttype":"application/a+json; x=1","data":"x""#, "application/a+json; x=1", #""x""#),
        (#""data":"<p>","datacontenttype":"text\/html""#, "text/html", "<p>"),
        (#""data":[1],"datacontenttype":"text/plain""#, "text/plain", "[1]"),
        (#""data_base64":"aGk=""#, "application/octet-stream", "hi"),
        (#""data_base64":"""#, "application/octet-stream", ""),
        (#""data_base64":"aGk\u003d""#, "application/octet-stream", "hi"),
        (#""data_base64":"Pz8\/","datacontenttype":"text/plain""#, "text/plain", "???"),
    ])
    func `data is a text, other JSON as it stands, or bytes`(members: String, contentType: String, data: String) throws
    {
        #expect(try one("{\"topic\":\"a\",\(members)}") == Item("a", contentType, data))
    }

    @Test func `names and texts may be escaped`() throws {
        let item = try one(#"{"\u0074opic":"a\/b","ty\u0070e":"\u0074","d\u0061ta":"\ud83d\ude00"}"#)
        #expect(item == Item("a/b", type: "t", "text/plain", "😀"))
    }

    @Test func `many decoded texts stay what they were`() throws {
        let lines = (0..<300).map { #"{"topic":"t\/\#($0)","data":"\u00e9\#($0)","type":"\u0061\#($0)"}"# }
        let items = try parse(lines.joined(separator: "\n"), .HR_BATCH_NDJSON)
        #expect(
            items == (0..<300).map { Item("t/\($0)", type: "a\($0)", "text/plain", "é\($0)", line: UInt32($0 + 1)) })
    }

    @Test func `many decoded bytes stay what they were`() throws {
        var random = CodecRandom(seed: 64)
        let texts = (0..<200).map { _ in random.text(upTo: 30) }
        let objects = texts.map { text in
            let base64 = Data(text.utf8).base64EncodedString()
            return #"{"topic":"a","data_base64":"\#(base64.replacing("/", with: "\\/"))"}"#
        }
        let items = try parse("[\(objects.joined(separator: ","))]", .HR_BATCH_JSON_ARRAY)
        #expect(items.map { Array($0.data.utf8) } == texts.map { Array($0.utf8) })
    }

    @Test(arguments: [
        ("1", "an event must be a JSON object"), ("[]", "an event must be a JSON object"),
        (#"{"data":1}"#, "topic is missing"), (#"{"topic":"a"}"#, "data or data_base64 is missing"),
        (#"{"topic":"a","data":1,"data_base64":""}"#, "data and data_base64 exclude each other"),
        (#"{"topic":1,"data":1}"#, "topic must be a string"), (#"{"topic":null,"data":1}"#, "topic must be a string"),
        (#"{"topic":"a","data":1,"type":1}"#, "type must be a string"),
        (#"{"topic":"a","data":1,"datacontenttype":{}}"#, "datacontenttype must be a string"),
        (#"{"topic":"a","data":1,"datacontenttype":""}"#, "datacontenttype must be printable ASCII, not empty"),
        (#"{"topic":"a","data":1,"datacontenttype":"a\n"}"#, "datacontenttype must be printable ASCII, not empty"),
        (#"{"topic":"a","data":1,"datacontenttype":"é"}"#, "datacontenttype must be printable ASCII, not empty"),
        (#"{"topic":"a","data_base64":1}"#, "data_base64 must be a string"),
        (#"{"topic":"a","data_base64":"a"}"#, "data_base64 must be base64 with padding"),
        (#"{"topic":"a","data_base64":"aGk"}"#, "data_base64 must be base64 with padding"),
        (#"{"topic":"a","data_base64":"\n"}"#, "data_base64 must be base64 with padding"),
        (#"{"topic":"a","data":1,"colour":2}"#, #"unknown member "colour""#),
        (#"{"topic":"a","data":1,"Topic":2}"#, #"unknown member "Topic""#),
        (#"{"topic":"a","data":1,"subject":"s"}"#, #"unknown member "subject""#),
        (#"{"topic":"a","data":1,"topic":"b"}"#, "topic is given twice"),
        (#"{"topic":"a","data":1,"\u0064ata":2}"#, "data is given twice"),
        (#"{"topic":"a","data":1,"é\n":2}"#, #"unknown member "??\n""#),
    ])
    func `what is no event is refused by the member's name`(object: String, what: String) {
        #expect(throws: Refusal(what)) { try one(object) }
    }

    @Test func `an unknown member's name is told up to forty bytes`() {
        let name = String(repeating: "n", count: 40)
        #expect(throws: Refusal("unknown member \"\(name)\"")) { try one("{\"\(name)\":1}") }
        #expect(throws: Refusal("unknown member \"\(name)...\"")) { try one("{\"\(name)m\":1}") }
    }

    @Test func `a type has its bound and its bytes`() throws {
        let longest = String(repeating: "t", count: 128)
        #expect(try one(#"{"topic":"a","data":1,"type":"\#(longest)"}"#).type == longest)
        for type in ["", longest + "t", "a b", "a\\n", "é", "\\u007f"] {
            #expect(throws: Refusal("type must be 1 to 128 bytes of printable ASCII without spaces")) {
                try one(#"{"topic":"a","data":1,"type":"\#(type)"}"#)
            }
            #expect(throws: Refusal.self) { try cloud(cloudEvent(#""type":"\#(type)""#, without: "type")) }
        }
    }

    @Test func `an NDJSON mistake names its line in the body and its place among the events`() {
        let good = #"{"topic":"a","data":1}"#
        #expect(throws: Refusal("topic is missing", line: 4, index: 2)) {
            try parse("\(good)\n\n\(good)\r\n{\"data\":1}\n\(good)", .HR_BATCH_NDJSON)
        }
        #expect(throws: Refusal("expected a colon", isSyntax: true, line: 3, column: 12, index: 1)) {
            try parse("\(good)\n\n  {\"topic\" \"a\"}\n", .HR_BATCH_NDJSON)
        }
        #expect(throws: Refusal("unexpected text behind the value", isSyntax: true, column: 24)) {
            try parse("\(good) \(good)", .HR_BATCH_NDJSON)
        }
        #expect(throws: Refusal("unexpected end of text", isSyntax: true, line: 1, column: 2)) {
            try parse("{\n\"topic\":\"a\",\"data\":1}", .HR_BATCH_NDJSON)
        }
    }

    @Test func `an array's mistake names its item and the line where that begins`() {
        #expect(throws: Refusal("topic is missing", line: 3, index: 1)) {
            try parse("[{\"topic\":\"a\",\"data\":1},\n\n{\n\"data\":1}]", .HR_BATCH_JSON_ARRAY)
        }
        #expect(throws: Refusal("expected a value", isSyntax: true, line: 2, column: 1)) {
            try parse("[{\"topic\":\"a\",\"data\":1},\n]", .HR_BATCH_JSON_ARRAY)
        }
        #expect(throws: Refusal("expected an array of events")) { try parse("{}", .HR_BATCH_JSON_ARRAY) }
        #expect(throws: Refusal("unexpected text behind the value", isSyntax: true, column: 3)) {
            try parse("[]]", .HR_BATCH_JSON_ARRAY)
        }
    }

    @Test(arguments: [
        ("", hr_batch_format.HR_BATCH_NDJSON), ("\n \r\n\t", .HR_BATCH_NDJSON), ("[]", .HR_BATCH_JSON_ARRAY),
        (" [ ] ", .HR_BATCH_CLOUDEVENTS),
    ])
    func `a batch without events is refused`(body: String, format: hr_batch_format) {
        #expect(throws: Refusal("the batch is empty")) { try parse(body, format) }
    }

    @Test(arguments: [1, 3, 4, 5, 1000])
    func `as many events as allowed are taken and one more is not`(max: Int) throws {
        let events = [String](repeating: #"{"topic":"a","data":1}"#, count: max)
        let array = "[\(events.joined(separator: ","))]"
        let lines = events.joined(separator: "\n")
        #expect(try parse(array, .HR_BATCH_JSON_ARRAY, max: max).count == max)
        #expect(try parse(lines, .HR_BATCH_NDJSON, max: max).count == max)
        var refusal = Refusal("more than \(max) events", index: UInt32(max))
        refusal.status = .limitReached
        #expect(throws: refusal) { try parse("[\(events.joined(separator: ",")),0]", .HR_BATCH_JSON_ARRAY, max: max) }
        refusal.line = UInt32(max + 2)
        #expect(throws: refusal) { try parse(lines + "\n\n{", .HR_BATCH_NDJSON, max: max) }
    }

    @Test func `a CloudEvent's subject is its topic and its extensions are passed over`() throws {
        let more = #""subject":"a/b","data":{"x":1},"traceparent":"00","time":7,"dataschema":null,"traceparent":[]"#
        #expect(try cloud(cloudEvent(more)) == Item("a/b", type: "t", "application/json", #"{"x":1}"#))
        #expect(try cloud(cloudEvent()) == Item("", type: "t", "application/octet-stream", ""))
    }

    @Test(arguments: [
        (#""data":"x""#, "application/json", #""x""#), (#""data":null"#, "application/json", "null"),
        (#""data":"x","datacontenttype":"application/json""#, "application/json", #""x""#),
        (#""data":"x\ty","datacontenttype":"text/plain""#, "text/plain", "x\ty"),
        (#""data":"x","datacontenttype":null"#, "application/json", #""x""#),
        (#""data":[1],"datacontenttype":"text/plain""#, "text/plain", "[1]"),
        (#""data_base64":"aGk=""#, "application/octet-stream", "hi"),
        (#""data_base64":"aGk=","datacontenttype":"text/plain""#, "text/plain", "hi"),
        (#""datacontenttype":"text/plain""#, "text/plain", ""), (#""subject":null"#, "application/octet-stream", ""),
    ])
    func `a CloudEvent's data is JSON unless its type says otherwise`(more: String, type: String, data: String) throws {
        #expect(try cloud(cloudEvent(more)) == Item("", type: "t", type, data))
    }

    @Test(arguments: ["specversion", "id", "source", "type"])
    func `a CloudEvent's required members are strings that are not empty`(name: String) {
        #expect(throws: Refusal("\(name) is missing")) { try cloud(cloudEvent(without: name)) }
        #expect(throws: Refusal("\(name) is missing")) { try cloud(cloudEvent("\"\(name)\":null", without: name)) }
        for value in ["\"\"", "1", "{}"] {
            #expect(throws: Refusal("\(name) must be a string, not empty")) {
                try cloud(cloudEvent("\"\(name)\":\(value)", without: name))
            }
        }
    }

    @Test(arguments: [
        (#""data":1,"data_base64":"""#, "data and data_base64 exclude each other"),
        (#""subject":1"#, "subject must be a string"),
        (#""data_base64":null"#, "data_base64 must be a string"), (#""id":"2""#, "id is given twice"),
        (#""datacontenttype":1"#, "datacontenttype must be a string"),
    ])
    func `a CloudEvent's mistakes are named`(more: String, what: String) {
        #expect(throws: Refusal(what)) { try cloud(cloudEvent(more)) }
    }

    @Test(arguments: ["0.3", "1.1", "1", "1.0 ", "01.0"])
    func `another version of CloudEvents is refused`(version: String) {
        #expect(throws: Refusal(#"specversion must be "1.0""#)) {
            try cloud(cloudEvent(#""specversion":"\#(version)""#, without: "specversion"))
        }
    }

    @Test func `a CloudEvents batch is an array of them`() throws {
        let items = try parse("[\(cloudEvent(#""subject":"a","data":1"#)),\n\(cloudEvent())]", .HR_BATCH_CLOUDEVENTS)
        #expect(items.map(\.topic) == ["a", ""])
        #expect(throws: Refusal("source is missing", line: 2, index: 1)) {
            try parse("[\(cloudEvent()),\n\(cloudEvent(without: "source"))]", .HR_BATCH_CLOUDEVENTS)
        }
        #expect(throws: Refusal("an event must be a JSON object")) { try cloud("[\(cloudEvent())]") }
    }

    @Test(arguments: 1...30 as ClosedRange<UInt64>)
    func `random events come out as they went in`(seed: UInt64) throws {
        var random = CodecRandom(seed: seed)
        var lines: [Data] = []
        var expected: [Item] = []
        for index in 0..<40 {
            let text = random.text(upTo: 40)
            let object = ["topic": "t/\(index)", "data": text]
            lines.append(try JSONSerialization.data(withJSONObject: object))
            expected.append(Item("t/\(index)", "text/plain", text, line: UInt32(index + 1)))
        }
        let items = try parse(Array(lines.joined(separator: [0x0A])), .HR_BATCH_NDJSON)
        #expect(items.map { Array($0.data.utf8) } == expected.map { Array($0.data.utf8) })
        #expect(items == expected)
    }

    @Test func `one object is read into memory of the caller's`() {
        unsafe Codec.withSlice(#"{"op":"publish","topic":"a\/b","data":"\u00e9"}"#) { text in
            unsafe Codec.withSlice("op") { op in
                var ignored = unsafe [op]
                var publication = unsafe hr_publication()
                var error = hr_batch_error()
                let object = unsafe hr_json_value(kind: .HR_JSON_OBJECT, raw: text)
                let output = unsafe Codec.output { scratch in
                    let status = unsafe hr_publication_read(object, &ignored, 1, scratch, &publication, &error)
                    #expect(unsafe Item(publication, line: 0) == Item("a/b", "text/plain", "é"))
                    return status
                }
                #expect(output.status == .ok)
                #expect(output.bytes == Array("a/bé".utf8))
            }
        }
    }
}
