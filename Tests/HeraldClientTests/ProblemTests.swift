import Testing

@testable import HeraldClient

@Suite struct ProblemTests {
    private func problem(
        _ status: Int, _ body: String, type: String? = "application/problem+json", after: String? = nil
    ) -> Problem {
        Problem(status: status, reason: "Reason", contentType: type, retryAfter: after, body: Array(body.utf8))
    }

    @Test func `a problem document becomes a sentence`() {
        let bad = problem(
            400,
            #"{"type":"/problems/bad-topic","title":"Bad topic","status":400,"detail":"The part 'a b' has a space."}"#)
        #expect(bad.description == "Bad topic: The part 'a b' has a space.")
        #expect(bad.slug == "bad-topic")
        #expect(!bad.isTransient)
    }

    @Test func `the line and column of a batch are named, once`() {
        let body = #"{"title":"Bad JSON","status":422,"detail":"unexpected end","line":3,"column":9}"#
        #expect(problem(422, body).description == "Bad JSON: unexpected end (line 3, column 9).")
        let named = #"{"title":"Bad JSON","detail":"line 3 ends early","line":3}"#
        #expect(problem(422, named).description == "Bad JSON: line 3 ends early.")
    }

    @Test func `an answer that is no problem document is told by its status`() {
        #expect(problem(502, "<html>", type: "text/html").description == "The server answered 502 Reason.")
        #expect(problem(502, "{broken").description == "The server answered 502 Reason.")
        #expect(problem(404, "", type: nil).status == 404)
    }

    @Test func `only some statuses are worth another attempt, after the time the server asks for`() {
        let busy = problem(503, #"{"title":"Draining"}"#, after: "7")
        #expect(busy.isTransient)
        #expect(busy.retryAfter == .seconds(7))
        #expect(problem(503, "{}", after: "-1").retryAfter == nil)
        #expect(problem(503, "{}", after: "soon").retryAfter == nil)
        for status in [400, 401, 403, 404, 409, 413, 422, 501] { #expect(!problem(status, "{}").isTransient) }
        for status in [408, 429, 500, 502, 503, 504] { #expect(problem(status, "{}").isTransient) }
    }
}

@Suite struct BaseURLTests {
    @Test func `an address gives host, port and prefix`() throws {
        let plain = try BaseURL("http://127.0.0.1:8080")
        #expect(plain.absolute(plain.target("/v1/events/a")) == "http://127.0.0.1:8080/v1/events/a")
        let proxied = try BaseURL("https://example.org/herald/")
        #expect(proxied.absolute(proxied.target("/v1/topics")) == "https://example.org:443/herald/v1/topics")
        #expect(try BaseURL("http://[::1]:80").authority == "[::1]:80")
    }

    @Test(arguments: ["", "127.0.0.1:8080", "ftp://host", "http://", "http://host/?a=b", "http://user@host"])
    func `an address that cannot be used is refused`(text: String) {
        #expect(throws: HeraldError.self) { try BaseURL(text) }
    }

    @Test func `what is not of a topic is percent-encoded`() throws {
        let base = try BaseURL("http://h")
        let query = [("topic", "a/*/**"), ("after", "x&y=1")]
        #expect(base.target("/e", query: query) == "/e?topic=a/*/**&after=x%26y%3D1")
        #expect(BaseURL.encode("a/b c?ü") == "a/b%20c%3F%C3%BC")
    }
}
