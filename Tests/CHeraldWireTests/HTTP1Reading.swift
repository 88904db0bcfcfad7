import CHeraldBase
import CHeraldWire
import Testing

/// A request as the accessors give it.
struct HTTPRequest: Equatable {
    var method = ""
    var kind: hr_http_method = .HR_HTTP_GET
    var target = ""
    var minor: UInt32 = 1
    var fields: [String] = []
    var body: [UInt8] = []
    var headFirst = false
    var keepsAlive = true
    var expectsContinue = false
    var upgrades = false
}

/// What a connection's bytes come to.
struct HTTPOutcome: Equatable {
    var requests: [HTTPRequest] = []
    var fault: hr_http_fault = .HR_FAULT_NONE
    /// Whether a request had begun when the bytes, or the parser, came to an end.
    var begun = false
    /// Whether the preface of HTTP/2 came.
    var isH2 = false
    /// What follows a request that upgrades, or the preface.
    var rest: [UInt8] = []
}

let roomyHTTP = hr_http1_limits(head_len_max: 4096, header_count_max: 50, target_len_max: 1024, body_len_max: 4096)

/// Feeds pieces, each from memory of its own, through request after request.
@safe struct HTTPReading: ~Copyable {
    private var http: OpaquePointer?
    private var sawHead = false
    private(set) var outcome = HTTPOutcome()

    init(_ limits: hr_http1_limits) {
        var limits = limits
        precondition(unsafe hr_http1_new(&limits, &http) == .ok)
    }

    deinit {
        var http = unsafe http
        unsafe hr_http1_free(&http)
    }

    var text: String { unsafe String(cString: hr_http1_fault_text(http)) }

    mutating func feed(_ piece: [UInt8]) {
        var left = piece[...]
        while outcome.fault == .HR_FAULT_NONE {
            if outcome.requests.last?.upgrades == true || outcome.isH2 {
                outcome.rest += left
                return
            }
            var used = 0
            let parser = unsafe http
            let result = unsafe Codec.withSlice(Array(left)) { unsafe hr_http1_feed(parser, $0.data, $0.len, &used) }
            left = left.dropFirst(used)
            outcome.begun = unsafe hr_http1_begun(http)
            switch result {
            case .HR_HTTP1_MORE:
                #expect(left.isEmpty)
                return
            case .HR_HTTP1_HEAD:
                #expect(!sawHead && (unsafe hr_http1_body(http).len) == 0)
                sawHead = true
            case .HR_HTTP1_DONE:
                #expect(outcome.begun)
                outcome.requests.append(request())
                sawHead = false
                unsafe hr_http1_reset(http)
                outcome.begun = unsafe hr_http1_begun(http)
                #expect(!outcome.begun)
            case .HR_HTTP1_H2:
                outcome.isH2 = true
            case .HR_HTTP1_FAIL:
                outcome.fault = unsafe hr_http1_fault(http)
                #expect(outcome.fault != .HR_FAULT_NONE && text != "no fault")
            }
        }
    }

    private func request() -> HTTPRequest {
        var request = HTTPRequest()
        unsafe request.method = Codec.text(hr_http1_method_text(http))
        unsafe request.kind = hr_http1_method(http)
        unsafe request.target = Codec.text(hr_http1_target(http))
        unsafe request.minor = hr_http1_minor(http)
        for index in unsafe 0..<hr_http1_header_count(http) {
            var name = unsafe hr_slice()
            var value = unsafe hr_slice()
            unsafe hr_http1_header_at(http, index, &name, &value)
            unsafe request.fields.append("\(Codec.text(name))=\(Codec.text(value))")
        }
        unsafe request.body = Codec.bytes(hr_http1_body(http))
        unsafe request.keepsAlive = hr_http1_keep_alive(http)
        unsafe request.expectsContinue = hr_http1_expects_continue(http)
        unsafe request.upgrades = hr_http1_upgrades(http)
        request.headFirst = sawHead
        return request
    }
}

/// What bytes come to, which must not depend on where they are cut.
func read(_ bytes: [UInt8], _ limits: hr_http1_limits = roomyHTTP) -> HTTPOutcome {
    var whole = HTTPReading(limits)
    whole.feed(bytes)
    let expected = whole.outcome
    let said = whole.text
    var bytewise = HTTPReading(limits)
    for byte in bytes { bytewise.feed([byte]) }
    #expect(bytewise.outcome == expected, "byte by byte")
    #expect(bytewise.text == said)
    for place in stride(from: 0, through: bytes.count, by: bytes.count > 2000 ? 97 : 1) {
        var cut = HTTPReading(limits)
        cut.feed(Array(bytes[..<place]))
        cut.feed(Array(bytes[place...]))
        #expect(cut.outcome == expected, "cut at \(place)")
        #expect(cut.text == said)
    }
    return expected
}

/// Lines joined by CRLF, and the empty line after them; then a body.
func head(_ lines: String..., body: String = "") -> [UInt8] {
    Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
}

func fault(_ lines: String..., body: String = "", limits: hr_http1_limits = roomyHTTP) -> hr_http_fault {
    let outcome = read(Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8), limits)
    #expect(outcome.requests.isEmpty || outcome.fault == .HR_FAULT_NONE)
    return outcome.fault
}

/// The only request of a text that holds one and nothing else.
func only(_ lines: String..., body: String = "", limits: hr_http1_limits = roomyHTTP) -> HTTPRequest? {
    let outcome = read(Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8), limits)
    #expect(outcome.fault == .HR_FAULT_NONE && outcome.requests.count == 1 && !outcome.begun)
    return outcome.requests.first
}
