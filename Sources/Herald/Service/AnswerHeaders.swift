import HeraldCore

/// The header lines that an answer has because of who asks and how: a table, made once, out of which the core takes a
/// block for each head. So bodies that many readers share stay shared, and no Swift runs when the core answers.
struct AnswerHeaders: Sendable {
    /// What answers are told apart by.
    struct Situation: Sendable, Equatable {
        /// Who asks.
        enum Audience: Sendable, Equatable {
            /// Whoever asks for what is not the API: metrics, health, pages.
            case everybody
            /// The API's own callers: programs, and pages of the server's origin.
            case own
            /// Whoever loads the client module, pages of all origins among them: there is nothing in it that is not public.
            case importers
            /// Pages of that entry of `allowed-origins`.
            case page(Int)
        }

        var audience: Audience = .everybody
        /// Whether it is a POST.
        var isPost = false
        /// Whether it came by TLS, where that makes a difference.
        var isSecure = false

        /// The block's place in the table.
        var index: Int {
            let rank =
                switch audience {
                case .everybody: 0
                case .own: 1
                case .importers: 2
                case .page(let place): 3 + place
                }
            return (rank * 2 + (isPost ? 1 : 0)) * 2 + (isSecure ? 1 : 0)
        }
    }

    /// The blocks, by the situations' indices.
    let blocks: [String]

    /// Makes the table.
    init(_ settings: ServerSettings) {
        let pages = settings.allowedOrigins.indices.map { Situation.Audience.page($0) }
        blocks = ([.everybody, .own, .importers] + pages).flatMap { audience in
            [(false, false), (false, true), (true, false), (true, true)].map { isPost, isSecure in
                let situation = Situation(audience: audience, isPost: isPost, isSecure: isSecure)
                return Self.text(Self.guards(for: situation, settings) + Self.lines(for: situation, settings))
            }
        }
    }

    private static func text(_ lines: [Response.Header]) -> String {
        lines.map { "\($0.name): \($0.value)\r\n" }.joined()
    }

    // MARK: Guards

    // What all answers have stands in each receipt and each poll's answer, so it is little: that a browser takes them
    // for nothing but what they say they are, and gives none to a page of another site as a picture or a script. The
    // latter is not said of answers to POST, as a page that may not read them is refused there, nor where pages may read.
    // A policy for documents would do nothing for JSON and streams that are taken for what they are; it stands on pages,
    // and on errors and whatever else is asked for seldom, where it costs nothing.

    private static func guards(for situation: Situation, _ settings: ServerSettings) -> [Response.Header] {
        var lines = [Response.Header(name: "X-Content-Type-Options", value: "nosniff")]
        if !situation.isPost, !isForOthers(situation.audience, settings) {
            lines.append(Response.Header(name: "Cross-Origin-Resource-Policy", value: "same-origin"))
        }
        let seconds = settings.hsts.components.seconds
        if situation.isSecure, seconds > 0 {
            lines.append(Response.Header(name: "Strict-Transport-Security", value: "max-age=\(seconds)"))
        }
        return lines
    }

    private static func isForOthers(_ audience: Situation.Audience, _ settings: ServerSettings) -> Bool {
        switch audience {
        case .everybody: false
        case .own: settings.allowedOrigins.contains(.any)
        case .importers, .page: true
        }
    }

    /// What answers have that are no pages, whose text is made for the one who asks: nothing in them is loaded, they
    /// are shown in no frame, and no cache keeps them.
    fileprivate static let guardsOfText = [
        Response.Header(name: "Cache-Control", value: "no-store"),
        Response.Header(name: "Content-Security-Policy", value: "default-src 'none'; frame-ancestors 'none'"),
    ]

    /// The same for problems that the core answers by itself.
    static let ofFaults = text(guardsOfText)

    // MARK: Other origins

    /// What a page may see of an answer, besides what every page may (Fetch standard §2.2.2).
    static let exposed = "ETag, Herald-Cursor, Retry-After, WWW-Authenticate"

    private static func lines(for situation: Situation, _ settings: ServerSettings) -> [Response.Header] {
        switch situation.audience {
        case .everybody: return []
        case .importers: return [Response.Header(name: "Access-Control-Allow-Origin", value: "*")]
        case .own where settings.allowedOrigins.contains(.any), .page where settings.allowedOrigins.contains(.any):
            // Also for those who have named no origin: what a cache keeps of their answers is good for pages, too.
            return allowance(of: .any, settings)
        case .own:
            return settings.allowedOrigins.isEmpty ? [] : [Response.Header(name: "Vary", value: "Origin")]
        case .page(let place):
            let origin = settings.allowedOrigins[place]
            return allowance(of: origin, settings) + [Response.Header(name: "Vary", value: "Origin")]
        }
    }

    private static func allowance(of origin: AllowedOrigin, _ settings: ServerSettings) -> [Response.Header] {
        var lines = [
            Response.Header(name: "Access-Control-Allow-Origin", value: origin.description),
            Response.Header(name: "Access-Control-Expose-Headers", value: exposed),
        ]
        if settings.allowCredentials, origin != .any {
            lines.append(Response.Header(name: "Access-Control-Allow-Credentials", value: "true"))
        }
        return lines
    }
}

extension Response {
    /// An answer of text that is made for the one who asks, and no page.
    static func text(_ status: Int, _ body: [UInt8], contentType: String = "application/json") -> Response {
        var response = Response(status: status, contentType: contentType, body: body)
        response.headers += AnswerHeaders.guardsOfText
        return response
    }
}
