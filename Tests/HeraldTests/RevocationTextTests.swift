import HeraldCore
import Testing

@testable import Herald

@Suite struct RevocationTextTests {
    private func entry(_ body: String) throws(Problem) -> Revocations.Entry {
        try body.withBytes { bytes throws(Problem) in try RevocationText.entry(bytes, at: 1000, life: 60) }
    }

    @Test func `a body names a token or a subject`() throws {
        #expect(
            try entry(#"{"jti":"7"}"#) == Revocations.Entry(target: .token("7"), issuedUntil: 1000, keptUntil: 1060))
        #expect(
            try entry(" {\n\"sub\" : \"al\\u0069ce\"}\n ")
                == Revocations.Entry(target: .subject("alice"), issuedUntil: 1000, keptUntil: 1060))
    }

    @Test func `a name has 1 to 1024 bytes`() throws {
        let longest = String(repeating: "x", count: 1024)
        #expect(try entry("{\"jti\":\"\(longest)\"}").target == .token(longest))
        #expect(try entry("{\"sub\":\"\(longest)\"}").target == .subject(longest))
        // It is bytes that count: 512 of two.
        let wide = String(repeating: "ü", count: 512)
        #expect(try entry("{\"sub\":\"\(wide)\"}").target == .subject(wide))
        for text in ["", longest + "x", wide + "x"] {
            for name in ["jti", "sub"] {
                let problem = #expect(throws: Problem.self) { try entry("{\"\(name)\":\"\(text)\"}") }
                #expect(problem?.kind == .badRevocation)
            }
        }
    }

    @Test(arguments: [
        #"{}"#, #"{"jti":"1","sub":"a"}"#, #"{"sub":"a","jti":"1"}"#, #"{"jti":"1","x":2}"#, #"{"x":"1"}"#,
        #"{"JTI":"1"}"#,
        #"{"jti":1}"#, #"{"jti":null}"#, #"{"jti":true}"#, #"{"sub":["a"]}"#, #"{"sub":{"a":"b"}}"#, #"[]"#,
        #"["jti"]"#, #""jti""#, #"7"#, #"null"#,
    ])
    func `anything else is no revocation`(body: String) {
        let problem = #expect(throws: Problem.self) { try entry(body) }
        #expect(problem?.kind == .badRevocation)
        #expect(problem?.status == 422)
    }

    @Test(arguments: [
        "", " ", "{", #"{"jti":"1"} x"#, #"{"jti":"1"}{}"#, #"{"jti":"1",}"#, #"{"jti":"1","jti":"1"}"#, #"{jti:"1"}"#,
        #"{"jti":"\ud800"}"#, "{\"jti\":\"\n\"}", "\u{FEFF}{\"jti\":\"1\"}",
    ])
    func `what is no JSON is told apart`(body: String) {
        let problem = #expect(throws: Problem.self) { try entry(body) }
        #expect(problem?.kind == .badJSON)
    }

    @Test func `the answer says what was revoked, and until when that is kept`() {
        func text(_ target: Revocations.Target) -> String {
            let entry = Revocations.Entry(target: target, issuedUntil: 1000, keptUntil: 1060)
            let response = RevocationText.response(entry)
            #expect(response.status == 201)
            return String(decoding: response.body, as: UTF8.self)
        }
        #expect(text(.token("a\"b\n")) == #"{"jti":"a\"b\n","until":1060}"#)
        #expect(text(.subject("alice")) == #"{"sub":"alice","until":1060}"#)
    }
}
