import HeraldCore

/// What a request is for. Places are offsets into the path, so that routing copies nothing.
enum Route: Sendable, Equatable {
    /// Publish one event on the topic that begins at an offset of the path.
    case publishOne(topicFrom: Int)
    /// Publish the events that the body holds.
    case publishMany
    /// Read events of the filter that begins at an offset of the path, or only of those in the query.
    case read(filterFrom: Int?)
    /// List topics.
    case topics
    /// Tell the state of the topic that begins at an offset of the path.
    case topic(from: Int)
    /// Let go of what the topic that begins at an offset of the path keeps.
    case purge(from: Int)
    /// Have the reader whose id begins at an offset of the path go on with another token.
    case renew(readerFrom: Int)
    /// Revoke tokens.
    case revoke
    /// Count everything.
    case metrics
    /// Say whether the server lives.
    case health
    /// Say whether the server is ready.
    case readiness
    /// Serve a file.
    case page(PageName)
    /// Become a WebSocket that echoes.
    case echo
    /// List the methods.
    case options([RequestMethod])
    /// None of these.
    case refused(Problem)
}

extension Route {
    /// Whether clients are asked who they are.
    var isGuarded: Bool {
        switch self {
        case .publishOne, .publishMany, .read, .topics, .topic, .purge, .renew, .revoke: true
        case .metrics, .health, .readiness, .page, .echo, .options, .refused: false
        }
    }

    /// Whether it publishes.
    var isPublish: Bool {
        switch self {
        case .publishOne, .publishMany: true
        default: false
        }
    }
}

/// The files that are served.
enum PageName: String, Sendable, CaseIterable {
    case console = "/"
    case script = "/console.js"
    case style = "/console.css"
    case consoleCost = "/console/cost.js"
    case consoleDom = "/console/dom.js"
    case consoleDraw = "/console/draw.js"
    case consoleLab = "/console/lab.js"
    case consoleLimit = "/console/limit.js"
    case consoleMeasure = "/console/measure.js"
    case consoleOverview = "/console/overview.js"
    case consolePublish = "/console/publish.js"
    case consolePublisher = "/console/publisher.js"
    case consoleServer = "/console/server.js"
    case consoleTail = "/console/tail.js"
    case consoleTransports = "/console/transports.js"
    case contract = "/openapi.txt"
    case module = "/herald.js"
    case moduleTypes = "/herald.d.ts"

    /// The files that pages of other origins load: the client module and its types.
    static let imported: [PageName] = [.module, .moduleTypes]
}

/// Finds out what a request is for. Knows paths and methods, nothing else.
struct Router: Sendable {
    /// Where readers' tokens are renewed; a reader's id follows.
    static let renewals: StaticString = "/v1/renewals/"

    /// The path that echoes; none unless conformance suites are run.
    var echoPath: String?

    private enum Resource {
        case events(filterFrom: Int?)
        case topics
        case topic(from: Int)
        case renewal(readerFrom: Int)
        case revocations
        case metrics
        case health
        case readiness
        case page(PageName)
        case echo
    }

    /// Finds the route.
    func route(_ method: RequestMethod, _ path: borrowing Bytes) -> Route {
        guard let resource = resource(path) else {
            return .refused(Problem(.notFound, "there is nothing at \(EscapedText.quoted(path.excerpt(), limit: 80))"))
        }
        switch (method, resource) {
        case (.post, .events(let offset)): return offset.map { .publishOne(topicFrom: $0) } ?? .publishMany
        case (.get, .events(let offset)), (.head, .events(let offset)): return .read(filterFrom: offset)
        case (.delete, .topic(let offset)): return .purge(from: offset)
        case (.post, .renewal(let offset)): return .renew(readerFrom: offset)
        case (.post, .revocations): return .revoke
        case (.get, _), (.head, _): break
        case (.options, _): return .options(methods(of: resource))
        default: return .refused(refusal(of: method, methods(of: resource)))
        }
        switch resource {
        case .events(let offset): return .read(filterFrom: offset)
        case .topics: return .topics
        case .topic(let offset): return .topic(from: offset)
        case .metrics: return .metrics
        case .health: return .health
        case .readiness: return .readiness
        case .page(let name): return .page(name)
        case .echo where method == .get: return .echo
        case .echo, .renewal, .revocations: return .refused(refusal(of: method, methods(of: resource)))
        }
    }

    /// Whether a path is the API's, or that of the echo.
    func isOfAPI(_ path: borrowing Bytes) -> Bool {
        path.hasPrefix("/v1/") || path == "/v1" || echoPath.map { path.equals($0) } ?? false
    }

    private func resource(_ path: borrowing Bytes) -> Resource? {
        if let echoPath, path.equals(echoPath) { return .echo }
        if path.hasPrefix("/v1/") {
            if path.hasPrefix("/v1/events/") { return .events(filterFrom: 11) }
            if path == "/v1/events" { return .events(filterFrom: nil) }
            if path.hasPrefix("/v1/topics/") { return .topic(from: 11) }
            if path == "/v1/topics" { return .topics }
            if path.hasPrefix(Self.renewals) { return .renewal(readerFrom: Self.renewals.utf8CodeUnitCount) }
            if path == "/v1/revocations" { return .revocations }
            return nil
        }
        if path == "/metrics" { return .metrics }
        if path == "/healthz" { return .health }
        if path == "/readyz" { return .readiness }
        for name in PageName.allCases where path.equals(name.rawValue) { return .page(name) }
        return nil
    }

    private func methods(of resource: Resource) -> [RequestMethod] {
        switch resource {
        case .events: [.get, .head, .post, .options]
        case .topic: [.get, .head, .delete, .options]
        case .topics, .metrics, .health, .readiness, .page: [.get, .head, .options]
        case .echo: [.get, .options]
        case .renewal, .revocations: [.post, .options]
        }
    }

    private func refusal(of method: RequestMethod, _ allowed: [RequestMethod]) -> Problem {
        // A method of HTTP that no resource has comes as `other`; one that HTTP does not know is refused by the core.
        let name = method == .other ? "the method" : method.rawValue
        var problem = Problem(
            .methodNotAllowed, "\(name) is not allowed here; allowed: \(RequestMethod.list(allowed))")
        problem.allowed = allowed
        return problem
    }
}
