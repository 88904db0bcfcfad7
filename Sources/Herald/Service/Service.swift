import HeraldCore
import Logging

/// What happens once per request: routes, policy, and the mapping of mistakes to answers.
///
/// It is called on the loops' threads, by all of them at once, and never waits but for locks that are held for
/// bounded work.
final class Service: RequestHandler {
    /// The bounds that are the service's own.
    struct Limits: Sendable {
        /// The number of events in one publish request.
        var batch = 1000
        /// The longest time a long-poll may ask to wait, in seconds.
        var waitSeconds = 300
        /// The number of filters of one connection.
        var filters = 64
    }

    let hub: Hub
    let engine: any Engine
    let limits: Limits
    let router: Router
    let pages: StaticPages
    let idempotency: IdempotencyCache
    let refusals = RefusalCounts()
    let loopCount: Int
    private let startedAt = ContinuousClock.now
    private let onDrained: @Sendable () -> Void

    /// Makes the service of a hub.
    ///
    /// - Parameters:
    ///   - hub: what the requests come from, and what its readers read.
    ///   - engine: what publishes.
    ///   - settings: where the limits come from.
    ///   - loopCount: the number of the hub's loops.
    ///   - onDrained: called on a loop's thread when the last connection of a drain has gone.
    /// When the first of the certificates ends, in seconds since 1970; nil without TLS.
    private let certificateExpiry: @Sendable () -> Int64?

    init(
        hub: Hub, engine: any Engine, settings: ServerSettings, loopCount: Int,
        certificateExpiry: @escaping @Sendable () -> Int64? = { nil }, onDrained: @escaping @Sendable () -> Void
    ) {
        self.hub = hub
        self.engine = engine
        limits = Limits(
            batch: settings.maxBatch, waitSeconds: Int(settings.maxWait.components.seconds),
            filters: settings.maxFiltersPerConnection)
        router = Router(echoPath: settings.echoPath)
        pages = StaticPages()
        idempotency = IdempotencyCache(window: settings.idempotencyWindow, limit: settings.idempotencyKeys)
        self.loopCount = loopCount
        self.certificateExpiry = certificateExpiry
        self.onDrained = onDrained
    }

    /// Ends a request. On its loop's thread.
    func handle(_ request: consuming Request) {
        guard request.kind == .http else {
            perform(request)
            return
        }
        switch router.route(request.method, request.path) {
        case .publishOne(let offset): publishOne(request, topicFrom: offset)
        case .publishMany: publishMany(request)
        case .read(let offset): read(request, filterFrom: offset)
        case .echo: echo(request)
        case .topics: listTopics(request)
        case .topic(let offset): tellTopic(request, from: offset)
        case .purge(let offset): purgeTopic(request, from: offset)
        case .metrics: request.answer(metrics())
        case .health: request.answer(Health.live)
        case .readiness: request.answer(readiness())
        case .page(let name): answerPage(request, name)
        case .options(let methods): request.answer(Self.options(methods))
        case .refused(let problem): refuse(problem, request)
        }
    }

    /// The last connection of a drain has gone. On a loop's thread.
    func drained() {
        onDrained()
    }

    /// Answers with what is wrong, in the form of the request's kind.
    func refuse(_ problem: Problem, _ request: consuming Request) {
        switch request.kind {
        case .http:
            request.answer(problem.response)
        case .command:
            request.refuse(
                type: problem.type, title: problem.kind.title, status: problem.status, detail: problem.detail)
        }
    }

    private func metrics() -> Response {
        let log = hub.log.statistics.without(OwnTopic.name.flatMap { hub.log.state(of: $0) })
        let text = MetricsText(
            certificateExpiry: certificateExpiry(),
            hub: hub.statistics, log: log, refusals: refusals.snapshot, loops: loopCount,
            version: ServerRunner.version, uptime: startedAt.duration(to: .now))
        return Response(status: 200, contentType: MetricsText.contentType, body: text.rendered)
    }

    private func readiness() -> Response {
        Health.readiness(isDraining: hub.isDraining, probeAge: hub.probeAge)
    }

    private func answerPage(_ request: consuming Request, _ name: PageName) {
        let response = pages.response(name, unlessTagged: request.header(.ifNoneMatch)?.text())
        request.answer(response)
    }

    private static func options(_ methods: [RequestMethod]) -> Response {
        var response = Response(status: 204)
        response.add("Allow", RequestMethod.list(methods))
        return response
    }
}
