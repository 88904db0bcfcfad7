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
            /// Pages of that entry of `allowed-origins`.
            case page(Int)
        }

        var audience: Audience = .everybody
        /// Whether it is a POST.
        var isPost = false

        /// The block's place in the table.
        var index: Int {
            let rank =
                switch audience {
                case .everybody: 0
                case .own: 1
                case .page(let place): 2 + place
                }
            return rank * 2 + (isPost ? 1 : 0)
        }
    }

    /// The blocks, by the situations' indices.
    let blocks: [String]

    /// Makes the table.
    init(_ settings: ServerSettings) {
        let pages = settings.allowedOrigins.indices.map { Situation.Audience.page($0) }
        blocks = ([.everybody, .own] + pages).flatMap { audience in
            [false, true].map { isPost in
                let situation = Situation(audience: audience, isPost: isPost)
                return Self.lines(for: situation, settings).map { "\($0.name): \($0.value)\r\n" }.joined()
            }
        }
    }

    /// What a page may see of an answer, besides what every page may (Fetch standard §2.2.2).
    static let exposed = "ETag, Herald-Cursor, Retry-After"

    private static func lines(for situation: Situation, _ settings: ServerSettings) -> [Response.Header] {
        switch situation.audience {
        case .everybody: return []
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
