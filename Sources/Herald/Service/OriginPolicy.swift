import HeraldCore

// Browsers let any page send requests anywhere, with what the user is known by there: cookies, certificates, a place
// in the network. They say which page it is in `Origin`, and it is for the server to refuse (RFC 6454 §8, RFC 6455
// §10.2). What they do by themselves is to keep answers from a page unless these allow it (Fetch standard §3.2).

/// Who may use the server from a browser.
struct OriginPolicy: Sendable {
    /// Who a request comes from.
    enum Caller: Sendable, Equatable {
        /// No page, one of the server's own, or any page if all may.
        case own
        /// A page of that entry of the list.
        case allowed(Int)
        /// A page that may not.
        case refused
    }

    private let isOpen: Bool
    /// Whether only the server's own pages may use it, which need not ask.
    var isClosed: Bool { places.isEmpty }
    private let places: [AllowedOrigin: Int]

    /// Makes the policy of a list.
    init(_ allowed: [AllowedOrigin]) {
        isOpen = allowed.contains(.any)
        places = Dictionary(allowed.enumerated().map { ($1, $0) }) { first, _ in first }
    }

    /// Finds out who a request comes from. Programs send no `Origin`, browsers send it with all that can change
    /// something, and with all that a page of another origin is to read.
    func caller(of request: borrowing Request) -> Caller {
        guard let origin = request.header(.origin), !isOpen else { return .own }
        return caller(
            origin: origin.text(), host: request.header(named: "Host")?.text(), isSecure: request.isSecure)
    }

    /// Finds out who a page is, by what came in `Origin` and `Host`.
    func caller(origin text: String, host: String?, isSecure: Bool) -> Caller {
        guard !isOpen else { return .own }
        guard text != "*", let origin = AllowedOrigin(text) else { return .refused }
        if case .one(let origin) = origin, let host, origin.isOwn(host: host, isSecure: isSecure) { return .own }
        return places[origin].map { .allowed($0) } ?? .refused
    }

    /// What a page is told that may not use the server.
    static func problem(of request: borrowing Request) -> Problem {
        let origin = EscapedText.quoted(request.header(.origin)?.excerpt(100) ?? "")
        return Problem(
            .forbiddenOrigin,
            "pages of \(origin) may not use this server; the setting allowed-origins names those that may")
    }
}

/// What a browser asks before it sends a page's request (Fetch standard §4.8).
enum Preflight {
    /// Request headers that the API knows, but for those that need no leave.
    static let headers = [
        "Authorization", "Cache-Control", "Content-Type", "Herald-Type", "Idempotency-Key", "If-None-Match",
        "Last-Event-ID", "Prefer",
    ]

    /// For how long the browser need not ask again, in seconds.
    static let maxAge = 600

    /// Adds what answers a preflight from a page that is allowed, if the request is one.
    static func answer(_ request: borrowing Request, allowing methods: [RequestMethod], in response: inout Response) {
        guard request.header(.origin) != nil, request.header(named: "Access-Control-Request-Method") != nil else {
            return
        }
        let asked = request.header(named: "Access-Control-Request-Headers")?.text() ?? ""
        response.add("Access-Control-Allow-Methods", RequestMethod.list(methods))
        response.add("Access-Control-Allow-Headers", (headers + attributes(in: asked)).joined(separator: ", "))
        response.add("Access-Control-Max-Age", String(maxAge))
        if let isAsked = request.header(named: "Access-Control-Request-Private-Network"), isAsked == "true" {
            response.add("Access-Control-Allow-Private-Network", "true")
        }
    }

    /// The headers among those asked for that are attributes of a CloudEvent (HTTP binding §3.1.3.1), of which there
    /// may be any number.
    static func attributes(in asked: String) -> [String] {
        HeaderText.list(asked).map { $0.lowercased() }.filter { name in
            name.hasPrefix("ce-") && name.utf8.count > 3
                && name.dropFirst(3).unicodeScalars.allSatisfy { ("a"..."z").contains($0) || ("0"..."9").contains($0) }
        }
    }
}
