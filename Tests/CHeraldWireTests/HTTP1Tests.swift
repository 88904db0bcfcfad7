import CHeraldBase
import CHeraldWire
import Testing

struct HTTP1RequestTests {
    @Test func `a request without a body is read at once`() {
        let request = only("GET /v1/events/a?max=1 HTTP/1.1", "Host: example.org:8080", "Accept:  text/plain \t", "X:")
        #expect(
            request
                == HTTPRequest(
                    method: "GET", target: "/v1/events/a?max=1",
                    fields: ["Host=example.org:8080", "Accept=text/plain", "X="]))
    }

    @Test func `methods have their names`() {
        let kinds: [(String, hr_http_method)] = [
            ("GET", .HR_HTTP_GET), ("HEAD", .HR_HTTP_HEAD), ("POST", .HR_HTTP_POST), ("PUT", .HR_HTTP_PUT),
            ("DELETE", .HR_HTTP_DELETE), ("OPTIONS", .HR_HTTP_OPTIONS), ("PATCH", .HR_HTTP_PATCH),
            ("TRACE", .HR_HTTP_OTHER), ("PROPFIND", .HR_HTTP_OTHER), ("M-SEARCH", .HR_HTTP_OTHER),
        ]
        for (name, kind) in kinds {
            let request = only("\(name) / HTTP/1.1", "Host: a")
            #expect(request?.method == name && request?.kind == kind)
        }
    }

    @Test func `requests that come together come out one by one`() {
        let outcome = read(
            head("GET /1 HTTP/1.1", "Host: a") + head("POST /2 HTTP/1.1", "Host: a", "Content-Length: 3", body: "abc")
                + head(
                    "POST /3 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body: "2\r\nde\r\n1\r\nf\r\n0\r\n\r\n")
                + head("GET /4 HTTP/1.0") + head("GET /5 HTTP/1.1", "Host: a", "Connection: close")
                + Array("GET /6".utf8))
        #expect(outcome.requests.map(\.target) == ["/1", "/2", "/3", "/4", "/5"])
        #expect(outcome.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["", "abc", "def", "", ""])
        #expect(outcome.requests.map(\.headFirst) == [false, true, true, false, false])
        #expect(outcome.requests.map(\.keepsAlive) == [true, true, true, false, false])
        #expect(outcome.fault == .HR_FAULT_NONE && outcome.begun)
    }

    @Test func `a fault ends only what comes after the good requests`() {
        let outcome = read(head("GET /1 HTTP/1.1", "Host: a") + head("GET /2 HTTP/1.1") + head("GET /3 HTTP/1.0"))
        #expect(outcome.requests.map(\.target) == ["/1"])
        #expect(outcome.fault == .HR_FAULT_HOST)
    }

    @Test(arguments: [
        [], ["Host: b", "Accept: x"], ["Connection: close"], ["Content-Length: 3"], ["Content-Length: 0"],
        ["Transfer-Encoding: chunked"], ["Expect: 100-continue", "content-type: a/b", "Content-Length: 3"],
    ])
    func `a head that comes again says the same, and one that differs what it says`(fields: [String]) {
        let host = fields.contains("Host: b") ? [] : ["Host: a"]
        let isChunked = fields.contains("Transfer-Encoding: chunked")
        let body = isChunked ? "3\r\nabc\r\n0\r\n\r\n" : fields.contains("Content-Length: 3") ? "abc" : ""
        for target in ["/a?b=c", "http://a/b", "http://a?b", "*"] {
            let lines = ["OPTIONS \(target) HTTP/1.1"] + host + fields + ["", ""]
            let one = Array((lines.joined(separator: "\r\n") + body).utf8)
            let alone = read(one)
            #expect(alone.requests.count == 1 && alone.fault == .HR_FAULT_NONE)
            let other = head("GET /a?b=c HTTP/1.0", "Connection: keep-alive") + head("PUT /a HTTP/1.1", "Host: c")
            let all = read(one + one + one + other + one + one)
            #expect(all.requests.count == 7 && all.fault == .HR_FAULT_NONE && !all.begun)
            for index in [0, 1, 2, 5, 6] { #expect(all.requests[index] == alone.requests[0]) }
            #expect(all.requests[3].target == "/a?b=c" && all.requests[3].minor == 0 && all.requests[3].keepsAlive)
            #expect(all.requests[4].kind == .HR_HTTP_PUT && all.requests[4].fields == ["Host=c"])
        }
    }

    @Test func `a head that comes again may be the last that is good`() {
        let good = head("GET / HTTP/1.1", "Host: a")
        let outcome = read(good + good + head("GET / HTTP/1.1", "Host: a", "Host: a"))
        #expect(outcome.requests.count == 2 && outcome.fault == .HR_FAULT_HOST)
    }

    @Test func `the names that are known are found wherever they stand, the first of them`() {
        var limits = roomyHTTP
        var http: OpaquePointer?
        #expect(unsafe hr_http1_new(&limits, &http) == .ok)
        defer { unsafe hr_http1_free(&http) }
        let bytes = head(
            "GET / HTTP/1.1", "CE-Id: 1", "Host: a", "accept: b", "ACCEPT: c", "Content-Typ: d", "If-None-Match: e",
            "origin: https://f", "Cookie: g=1; h=2", "authorization: Bearer i")
        let known: [(hr_http_name, String?)] = [
            (.HR_NAME_ACCEPT, "b"), (.HR_NAME_IF_NONE_MATCH, "e"), (.HR_NAME_CE_ID, "1"), (.HR_NAME_CONTENT_TYPE, nil),
            (.HR_NAME_CE_TYPE, nil), (.HR_NAME_HERALD_TYPE, nil), (.HR_NAME_ORIGIN, "https://f"),
            (.HR_NAME_COOKIE, "g=1; h=2"), (.HR_NAME_AUTHORIZATION, "Bearer i"),
        ]
        for _ in 0..<2 {
            var used = 0
            let parser = unsafe http
            let result = unsafe Codec.withSlice(bytes) { unsafe hr_http1_feed(parser, $0.data, $0.len, &used) }
            #expect(result == .HR_HTTP1_DONE)
            for (name, expected) in known {
                var value = unsafe hr_slice()
                let found = unsafe hr_http1_known(parser, name, &value)
                #expect((found ? unsafe Codec.text(value) : nil) == expected)
            }
            unsafe hr_http1_reset(parser)
        }
    }

    @Test func `what follows an upgrade is not read`() {
        let lines = [
            "GET /ws HTTP/1.1", "Host: a", "Connection: keep-alive, Upgrade", "Upgrade: websocket", "", "",
        ].joined(separator: "\r\n")
        let outcome = read(Array(lines.utf8) + [0x81, 0x80, 0, 0, 0, 0])
        #expect(outcome.requests.count == 1 && outcome.requests[0].upgrades && outcome.fault == .HR_FAULT_NONE)
        #expect(outcome.rest == [0x81, 0x80, 0, 0, 0, 0])
    }

    @Test func `an upgrade needs both fields and HTTP 1.1`() {
        #expect(only("GET / HTTP/1.1", "Host: a", "Upgrade: websocket")?.upgrades == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "Connection: upgrade")?.upgrades == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "Connection: upgrades", "Upgrade: x")?.upgrades == false)
        #expect(only("GET / HTTP/1.0", "Connection: upgrade", "Upgrade: websocket")?.upgrades == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "connection: UPGRADE", "UPGRADE: x")?.upgrades == true)
    }

    @Test func `an upgrade with a body has it read first`() {
        let outcome = read(
            head(
                "POST / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: x", "Content-Length: 2", body: "okREST"))
        #expect(outcome.requests.first?.body == Array("ok".utf8))
        #expect(outcome.rest == Array("REST".utf8))
    }

    @Test func `connections persist by version and Connection`() {
        #expect(only("GET / HTTP/1.1", "Host: a")?.keepsAlive == true)
        #expect(only("GET / HTTP/1.1", "Host: a", "Connection: Close")?.keepsAlive == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "Connection: x ,close, y")?.keepsAlive == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "Connection: x", "Connection: close")?.keepsAlive == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "Connection: closed")?.keepsAlive == true)
        #expect(only("GET / HTTP/1.0")?.keepsAlive == false)
        #expect(only("GET / HTTP/1.0", "Connection: keep-alive")?.keepsAlive == true)
        #expect(only("GET / HTTP/1.0", "Connection: keep-alive, close")?.keepsAlive == false)
    }

    @Test func `100-continue is noticed in HTTP 1.1`() {
        let expectation = "Expect: 100-Continue"
        #expect(
            only("POST / HTTP/1.1", "Host: a", expectation, "Content-Length: 1", body: "x")?.expectsContinue == true)
        #expect(only("POST / HTTP/1.0", expectation, "Content-Length: 1", body: "x")?.expectsContinue == false)
        #expect(only("GET / HTTP/1.1", "Host: a", "Expect: a-miracle")?.expectsContinue == false)
    }

    @Test func `header fields are found without regard to case`() {
        var limits = roomyHTTP
        var http: OpaquePointer?
        #expect(unsafe hr_http1_new(&limits, &http) == .ok)
        defer { unsafe hr_http1_free(&http) }
        var used = 0
        let parser = unsafe http
        let result = unsafe Codec.withSlice(head("GET / HTTP/1.1", "Host: a", "Vary: a, B", "vary:\tc , ,d")) {
            unsafe hr_http1_feed(parser, $0.data, $0.len, &used)
        }
        #expect(result == .HR_HTTP1_DONE)
        func has(_ token: String) -> Bool {
            unsafe Codec.withSlice("VARY") { name in
                unsafe Codec.withSlice(token) { unsafe hr_http1_header_has_token(parser, name, $0) }
            }
        }
        for token in ["a", "b", "C", "d"] { #expect(has(token)) }
        for token in ["a,", "e", "ab"] { #expect(!has(token)) }
        var value = unsafe hr_slice()
        #expect(unsafe Codec.withSlice("vARY") { unsafe hr_http1_header(parser, $0, &value) })
        #expect(unsafe Codec.text(value) == "a, B")
        #expect(!(unsafe Codec.withSlice("Var") { unsafe hr_http1_header(parser, $0, &value) }))
    }
}

struct HTTP1RequestLineTests {
    @Test func `empty lines may come before a request`() {
        for count in 0...8 {
            let blank = Array(String(repeating: "\r\n", count: count).utf8)
            let outcome = read(blank + head("GET / HTTP/1.0") + blank)
            #expect(outcome.requests.count == 1 && outcome.fault == .HR_FAULT_NONE && !outcome.begun)
        }
        let nine = Array(String(repeating: "\r\n", count: 9).utf8)
        #expect(read(nine + head("GET / HTTP/1.0")).fault == .HR_FAULT_REQUEST_LINE)
    }

    @Test(arguments: ["\n", "\r", "\r\r\n", "\n\r\n", "\r\n\n"])
    func `an empty line ends in CRLF`(line: String) {
        #expect(read(Array(line.utf8) + head("GET / HTTP/1.0")).fault == .HR_FAULT_REQUEST_LINE)
    }

    @Test(arguments: [
        " GET / HTTP/1.0", "GET  / HTTP/1.0", "GET /  HTTP/1.0", "GET / HTTP/1.0 ", "GET\t/ HTTP/1.0",
        "GET /\tHTTP/1.0",
        "GET /", "GET", "GET ", "GET HTTP/1.0", "GET / http/1.0", "GET / HTTP/1.", "GET / HTTP/1.01", "GET / HTTP/01.0",
        "GET / HTTP/1,0", "GET / HTTP/x.0", "GET / HTTP1.0", "GET / ICE/1.0", "G@T / HTTP/1.0", "(GET / HTTP/1.0",
        "GET / HTTP/1.0\n", "GET / x HTTP/1.0", "\u{16}\u{3}\u{1}", "SOURCE / ICE/1.0", "GET / HTTP/1.1HTTP/1.1",
    ])
    func `a malformed request line is refused`(line: String) {
        #expect(fault(line) == .HR_FAULT_REQUEST_LINE)
        #expect(hr_http_fault_status(.HR_FAULT_REQUEST_LINE) == 400)
    }

    @Test(arguments: [
        "get / HTTP/1.1", "GETS / HTTP/1.1", "GE / HTTP/1.1", "X / HTTP/1.1", "BREW /pot HTTP/1.1",
        "ANNOUNCE / HTTP/1.1", "CONNECT a:80 HTTP/1.1",
    ])
    func `an unknown method is not implemented`(line: String) {
        #expect(fault(line, "Host: a") == .HR_FAULT_METHOD)
        #expect(hr_http_fault_status(.HR_FAULT_METHOD) == 501)
    }

    @Test(arguments: ["0.9", "1.2", "1.9", "2.0", "3.0", "9.9"])
    func `versions other than 1.0 and 1.1 are refused`(version: String) {
        #expect(fault("GET / HTTP/\(version)", "Host: a") == .HR_FAULT_VERSION)
        #expect(hr_http_fault_status(.HR_FAULT_VERSION) == 505)
    }

    @Test func `the preface of HTTP 2 is told from requests, to its last byte`() {
        let outcome = read(head("PRI * HTTP/2.0", "", "SM") + Array("frames".utf8))
        #expect(outcome.isH2 && outcome.requests.isEmpty && outcome.rest == Array("frames".utf8))
        let later = read(head("GET / HTTP/1.1", "Host: a") + head("PRI * HTTP/2.0", "", "SM"))
        #expect(later.isH2 && later.requests.count == 1)
    }

    @Test(arguments: [
        "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n",
    ])
    func `what only begins like the preface is refused`(text: String) {
        let outcome = read(Array(text.utf8))
        #expect(outcome.fault != .HR_FAULT_NONE && !outcome.isH2)
    }

    @Test(arguments: ["/", "/a/b?c=d&e=%20", "//", "/?", "/~a:@!$&'()*+,;=[]|{}^`\\\"<>", "/*"])
    func `a target is a path as it came`(target: String) {
        #expect(only("GET \(target) HTTP/1.0")?.target == target)
    }

    @Test func `an asterisk is for OPTIONS alone`() {
        #expect(only("OPTIONS * HTTP/1.0")?.target == "*")
        #expect(fault("GET * HTTP/1.0") == .HR_FAULT_REQUEST_LINE)
        #expect(fault("OPTIONS ** HTTP/1.0") == .HR_FAULT_REQUEST_LINE)
    }

    @Test func `an absolute target is reduced to its path`() {
        #expect(only("GET http://a/b?c HTTP/1.0")?.target == "/b?c")
        #expect(only("GET HTTPS://a.example:443/b HTTP/1.0")?.target == "/b")
        #expect(only("GET http://a HTTP/1.0")?.target == "/")
        #expect(only("GET http://[::1]:80?c=d HTTP/1.0")?.target == "/?c=d")
    }

    @Test(arguments: ["http:///b", "http://", "http://u@a/", "http://a:x/", "http://?c", "http://[/", "http://a b/"])
    func `an absolute target names a host`(target: String) {
        let found = fault("GET \(target) HTTP/1.0")
        #expect(found == .HR_FAULT_HOST || found == .HR_FAULT_REQUEST_LINE)
    }

    @Test(arguments: ["a", "ftp://a/", "a:80", "?a", "/a#b", "#", "httpx://a/", "http:/a"])
    func `any other target is refused`(target: String) {
        #expect(fault("GET \(target) HTTP/1.0") == .HR_FAULT_REQUEST_LINE)
    }

    @Test func `a target holds visible ASCII only`() {
        for byte in UInt8.min ... .max where byte <= 0x20 || byte >= 0x7F {
            let bytes = Array("GET /a".utf8) + [byte] + Array("b HTTP/1.0\r\n\r\n".utf8)
            #expect(read(bytes).fault == .HR_FAULT_REQUEST_LINE, "\(byte)")
        }
    }
}

struct HTTP1HeaderTests {
    @Test(arguments: [
        "A : b", "A\t: b", " A: b", "\tA: b", "A", ": b", "A b: c", "A(: b", "A\u{0}: b", "Ä: b", "A: b\u{0}c",
        "A: b\u{7F}", "A: b\rc", "A: b\r", "A: b\nB: c", "A: b\r\n c", "A: b\r\n\tc", "A: b\r\n ", "A:\r\n b",
        "A: b\r\n\r c",
        "Connection : close", "Connection: keep-alive\r\n x", "Content-Length : 1", "Transfer-Encoding: chunked\r\n x",
    ])
    func `a malformed header field is refused`(field: String) {
        let found = fault("GET / HTTP/1.1", "Host: a", field, "Z: z")
        #expect(found == .HR_FAULT_HEADER)
        #expect(hr_http_fault_status(.HR_FAULT_HEADER) == 400)
    }

    @Test func `a field's name is a token and its value has no controls`() {
        let token = Set("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
        for byte in UInt8.min ... .max {
            let start = Array("GET / HTTP/1.0\r\nA".utf8)
            let named = read(start + [byte] + Array("B: c\r\n\r\n".utf8)).fault
            // A colon ends the name, and what follows it is a value.
            #expect((named == .HR_FAULT_NONE) == (token.contains(byte) || byte == UInt8(ascii: ":")), "\(byte)")
            let visible = byte == 9 || byte >= 0x20 && byte != 0x7F
            for name in ["", "ccept", "uthorization", "-Connection"] {
                let valued = read(start + Array("\(name): c".utf8) + [byte] + Array("d\r\n\r\n".utf8)).fault
                #expect((valued == .HR_FAULT_NONE) == visible, "\(byte)")
            }
        }
    }

    @Test(arguments: ["Connection", "Upgrade", "Expect", "Proxy-Connection", "Content-Type"])
    func `fields that the parser knows are as strict`(name: String) {
        for byte in UInt8.min ... .max where byte < 0x20 && byte != 9 || byte == 0x7F {
            for value in [[byte], Array("close".utf8) + [byte], [byte] + Array("x".utf8), Array("a, ".utf8) + [byte]] {
                let start = Array("GET / HTTP/1.0\r\n\(name): ".utf8)
                #expect(read(start + value + Array("b\r\n\r\n".utf8)).fault == .HR_FAULT_HEADER, "\(byte)")
            }
        }
    }

    @Test func `lines end in CRLF alone`() {
        for bare in ["\n", "\r", "\n\r"] {
            let lines = ["GET / HTTP/1.1", "Host: a", "A: b", ""]
            for index in lines.indices {
                var text = ""
                for (place, line) in lines.enumerated() { text += line + (place == index ? bare : "\r\n") }
                #expect(read(Array((text + "XXXX").utf8)).fault != .HR_FAULT_NONE, "\(index)")
            }
        }
    }

    @Test func `HTTP 1.1 has exactly one Host`() {
        #expect(fault("GET / HTTP/1.1") == .HR_FAULT_HOST)
        #expect(fault("GET / HTTP/1.1", "Host: a", "Host: a") == .HR_FAULT_HOST)
        #expect(fault("GET / HTTP/1.1", "Host: a", "A: b", "hOST: c") == .HR_FAULT_HOST)
        #expect(fault("GET / HTTP/1.0", "Host: a", "Host: a") == .HR_FAULT_HOST)
        #expect(fault("GET / HTTP/1.0") == .HR_FAULT_NONE)
        #expect(hr_http_fault_status(.HR_FAULT_HOST) == 400)
    }

    @Test(arguments: [
        "Content-Type", "Herald-Type", "Idempotency-Key", "Last-Event-ID", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
        "ce-id", "ce-source", "ce-specversion", "ce-type", "Authorization", "Cookie", "Origin",
    ])
    func `a field of one value comes once`(name: String) {
        #expect(fault("GET / HTTP/1.1", "Host: a", "\(name): b") == .HR_FAULT_NONE)
        #expect(fault("GET / HTTP/1.1", "Host: a", "\(name): b", "\(name): b") == .HR_FAULT_HEADER)
        #expect(fault("GET / HTTP/1.1", "Host: a", "\(name): b", "A: b", "\(name.uppercased()): c") == .HR_FAULT_HEADER)
    }

    @Test(arguments: [
        "Accept", "Accept-Encoding", "If-None-Match", "Prefer", "Sec-WebSocket-Extensions", "Forwarded",
        "X-Forwarded-For", "Via",
    ])
    func `lists and what means nothing here may come in parts`(name: String) {
        #expect(fault("GET / HTTP/1.1", "Host: a", "\(name): b", "\(name): c") == .HR_FAULT_NONE)
    }

    @Test(arguments: [
        "", "a", "a.example", "a.example:80", "a:", "127.0.0.1:65535", "[::1]", "[::1]:8080", "[2001:db8::1.2.3.4]:1",
        "a%20b", "-._~!$&'()*+,;=",
    ])
    func `a good Host is taken`(host: String) {
        #expect(fault("GET / HTTP/1.1", "Host: \(host)") == .HR_FAULT_NONE)
    }

    @Test(arguments: [
        "a b", "a/b", "a@b", "http://a", "a:b", "a:80:80", "a:65536", "a:100000", "a:+1", "[::1", "::1", "[]", "[:]x",
        "[::1]80",
        "a%2", "a%zz", "a#b", "a?b", "a\\b", "ä", "a,b c", "<a>", "a\"",
    ])
    func `a malformed Host is refused`(host: String) {
        #expect(fault("GET / HTTP/1.1", "Host: \(host)") == .HR_FAULT_HOST)
    }
}

struct HTTP1BodyTests {
    @Test(arguments: [
        "Content-Length:", "Content-Length: -1", "Content-Length: +1", "Content-Length: 1x", "Content-Length: 0x1",
        "Content-Length: 1, 1", "Content-Length: 1 1", "Content-Length: 18446744073709551616", "Content-Length: 1.0",
        "Content-Length: 1\r\nContent-Length: 1", "Content-Length: 1\r\nContent-Length: 2", "Content-Length: ,",
        "Content-Length: 0\r\nA: b\r\ncontent-length: 0", "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nContent-Length: 1", "Content-Length: \"1\"",
    ])
    func `a body without one certain length is refused`(fields: String) {
        #expect(fault("POST / HTTP/1.1", "Host: a", fields, body: "xxxxxx") == .HR_FAULT_LENGTH)
        #expect(hr_http_fault_status(.HR_FAULT_LENGTH) == 400)
    }

    @Test func `HTTP 1.0 has no transfer codings`() {
        #expect(fault("POST / HTTP/1.0", "Transfer-Encoding: chunked", body: "0\r\n\r\n") == .HR_FAULT_LENGTH)
    }

    @Test(arguments: [
        "gzip", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "xchunked", "chunkedx", "chunked;a=b",
        "",
        "\"chunked\"", ", chunked", "chunked,", "chun ked", "\u{B}chunked",
    ])
    func `a transfer coding other than chunked is refused`(coding: String) {
        let found = fault("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \(coding)", body: "0\r\n\r\n")
        #expect([.HR_FAULT_TRANSFER_ENCODING, .HR_FAULT_LENGTH, .HR_FAULT_HEADER].contains(found))
        #expect(hr_http_fault_status(.HR_FAULT_TRANSFER_ENCODING) == 501)
    }

    @Test func `an unknown coding before chunked is not implemented`() {
        let found = fault("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked", body: "0\r\n\r\n")
        #expect(found == .HR_FAULT_TRANSFER_ENCODING)
    }

    @Test func `a body of a given length is read`() {
        for length in [0, 1, 100, 4096] {
            let body = String(repeating: "b", count: length)
            let request = only("POST / HTTP/1.1", "Host: a", "Content-Length: \(length)", body: body)
            #expect(request?.body == Array(body.utf8))
            #expect(request?.headFirst == (length > 0))
        }
        #expect(only("POST / HTTP/1.1", "Host: a", "Content-Length:  007 ", body: "1234567")?.body.count == 7)
    }

    @Test func `a length over the limit is refused before the body`() {
        let found = fault("POST / HTTP/1.1", "Host: a", "Content-Length: 4097")
        #expect(found == .HR_FAULT_BODY_LEN)
        #expect(fault("POST / HTTP/1.1", "Host: a", "Content-Length: 18446744073709551615") == .HR_FAULT_BODY_LEN)
        #expect(hr_http_fault_status(.HR_FAULT_BODY_LEN) == 413)
    }

    private func chunked(_ body: String, limits: hr_http1_limits = roomyHTTP) -> HTTPOutcome {
        read(head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked", body: body), limits)
    }

    @Test func `chunks are joined`() {
        let outcome = chunked("3\r\nabc\r\nA;x;y=z;q=\"\\\"\"\r\n0123456789\r\n000\r\nT: v\r\nU:\r\n\r\n")
        #expect(outcome.fault == .HR_FAULT_NONE)
        #expect(outcome.requests.first?.body == Array("abc0123456789".utf8))
        #expect(outcome.requests.first?.fields.count == 2)
        #expect(chunked("0\r\n\r\n").requests.first?.body == [])
    }

    @Test(arguments: [
        "\r\n", "x\r\n", "-1\r\na\r\n", "1\na\r\n", "1\ra\r\n", "1\r\na\n0\r\n\r\n", "1\r\nab\r\n", "1\r\na0\r\n\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n", "0x1\r\na\r\n", "1\r\na\r0\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\n", "1;\u{0}\r\na", "1;a\n\r\na",
        "0\r\nA : b\r\n\r\n",
        "0\r\n A: b\r\n\r\n", "0\r\nA: b\r\n c\r\n\r\n", "0\r\nA: b\n\r\n", "0\r\nA\r\n\r\n", "0\n\r\n", "0\r\n\n",
        "0\r\nA: b\u{0}\r\n\r\n",
        "1;a=\"\r\n\"\r\na\r\n",
    ])
    func `malformed chunks and trailers are refused`(body: String) {
        let outcome = chunked(body + "XXXX")
        #expect(outcome.requests.isEmpty)
        #expect([.HR_FAULT_CHUNK, .HR_FAULT_LENGTH].contains(outcome.fault))
        #expect(hr_http_fault_status(.HR_FAULT_CHUNK) == 400)
    }

    @Test func `a chunked body may be as long as the limit and not one byte longer`() {
        var limits = roomyHTTP
        limits.body_len_max = 10
        #expect(chunked("4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n", limits: limits).fault == .HR_FAULT_NONE)
        #expect(chunked("4\r\nabcd\r\n7\r\n", limits: limits).fault == .HR_FAULT_BODY_LEN)
        #expect(chunked("FFFFFFFFFFFFFFFF\r\n", limits: limits).fault == .HR_FAULT_BODY_LEN)
    }

    @Test func `many small chunks are not taken for a long head`() {
        let body = String(repeating: "1\r\nx\r\n", count: 1500) + "0\r\n\r\n"
        #expect(chunked(body).requests.first?.body.count == 1500)
    }
}

struct HTTP1LimitTests {
    private func filled(_ count: Int) -> String {
        // "GET / HTTP/1.0\r\n" is 16 bytes, "A: " 3, and the line ends 4.
        "GET / HTTP/1.0\r\nA: " + String(repeating: "x", count: count - 23) + "\r\n\r\n"
    }

    @Test func `a head may be as long as the limit and not one byte longer`() {
        var limits = roomyHTTP
        limits.head_len_max = 200
        #expect(read(Array(filled(200).utf8), limits).requests.count == 1)
        #expect(read(Array(filled(201).utf8), limits).fault == .HR_FAULT_HEAD_LEN)
        #expect(read(Array((filled(200) + filled(200) + "\r\n" + filled(200)).utf8), limits).requests.count == 3)
        #expect(read(Array(String(filled(1000)).prefix(500).utf8), limits).fault == .HR_FAULT_HEAD_LEN)
        #expect(hr_http_fault_status(.HR_FAULT_HEAD_LEN) == 431)
    }

    @Test func `spaces that are not kept count as well`() {
        var limits = roomyHTTP
        limits.head_len_max = 200
        let spaces = String(repeating: " ", count: 200)
        #expect(fault("GET / HTTP/1.0", "A:\(spaces)b", limits: limits) == .HR_FAULT_HEAD_LEN)
        #expect(fault("GET\(spaces)/ HTTP/1.0", limits: limits) == .HR_FAULT_HEAD_LEN)
    }

    @Test func `there may be as many fields as the limit and not one more`() {
        var limits = roomyHTTP
        limits.header_count_max = 20
        let fields = (0..<21).map { "A\($0): b" }
        #expect(fault("GET / HTTP/1.0", fields.dropLast().joined(separator: "\r\n"), limits: limits) == .HR_FAULT_NONE)
        #expect(fault("GET / HTTP/1.0", fields.joined(separator: "\r\n"), limits: limits) == .HR_FAULT_HEAD_LEN)
    }

    @Test func `a target may be as long as the limit and not one byte longer`() {
        var limits = roomyHTTP
        limits.target_len_max = 50
        let longest = "/" + String(repeating: "a", count: 49)
        #expect(only("GET \(longest) HTTP/1.0", limits: limits)?.target == longest)
        #expect(fault("GET \(longest)a HTTP/1.0", limits: limits) == .HR_FAULT_TARGET_LEN)
        limits.head_len_max = 100
        let endless = "/" + String(repeating: "a", count: 200)
        #expect(fault("GET \(endless) HTTP/1.0", limits: limits) == .HR_FAULT_TARGET_LEN)
        #expect(hr_http_fault_status(.HR_FAULT_TARGET_LEN) == 414)
    }

    private let opening = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    @Test func `trailers count as head`() {
        var limits = roomyHTTP
        limits.head_len_max = UInt32(opening.utf8.count + 20)
        func ended(_ trailer: String) -> HTTPOutcome {
            read(Array("\(opening)1\r\na\r\n0\r\n\(trailer)\r\n".utf8), limits)
        }
        #expect(ended("T: 345678901234567\r\n").requests.count == 1)
        #expect(ended("T: 3456789012345678\r\n").fault == .HR_FAULT_HEAD_LEN)
        #expect(ended("T:\(String(repeating: " ", count: 30))\r\n").fault == .HR_FAULT_HEAD_LEN)
        limits.header_count_max = 3
        #expect(ended("T: a\r\n").requests.count == 1)
        #expect(ended("T: a\r\nU: b\r\n").fault == .HR_FAULT_HEAD_LEN)
    }

    @Test func `chunk extensions count as head`() {
        var limits = roomyHTTP
        limits.head_len_max = UInt32(opening.utf8.count + 20)
        func ended(_ chunks: String) -> HTTPOutcome { read(Array("\(opening)\(chunks)0\r\n\r\n".utf8), limits) }
        // A size line of 18 bytes is free: the longest that a 64-bit size needs.
        let free = "1;a=\(String(repeating: "x", count: 12))\r\na\r\n"
        #expect(ended(String(repeating: free, count: 50)).requests.count == 1)
        let ten = "1;a=\(String(repeating: "x", count: 22))\r\na\r\n"
        #expect(ended(ten + ten).requests.count == 1)
        #expect(ended(ten + ten + "1;a=\(String(repeating: "x", count: 13))\r\na\r\n").fault == .HR_FAULT_HEAD_LEN)
        #expect(ended("\(String(repeating: "0", count: 60))1\r\na\r\n").fault == .HR_FAULT_HEAD_LEN)
    }

    @Test func `the fault of a limit says which`() {
        for fault in UInt32(0)...12 {
            let status = hr_http_fault_status(hr_http_fault(rawValue: fault)!)
            #expect([200, 400, 413, 414, 431, 501, 503, 505].contains(status))
        }
        #expect(hr_http_fault_status(.HR_FAULT_MEMORY) == 503)
    }
}
