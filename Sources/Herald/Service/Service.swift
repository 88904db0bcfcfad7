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
    let origins: OriginPolicy
    private let hasHSTS: Bool
    let pages: StaticPages
    let idempotency: IdempotencyCache
    let access: Access
    /// Nil: publishers have no bound on their rate.
    let publishRates: PublishRates?
    let refusals = RefusalCounts()
    let loopCount: Int
    private let startedAt = ContinuousClock.now
    private let onDrained: @Sendable () -> Void

    /// Makes the service of a hub.
    ///
    /// - Parameters:
    ///   - hub: what the requests come from, and what its readers read.
    ///   - engine: what publishes.
    ///   - access: who may do what.
    ///   - settings: where the limits come from.
    ///   - loopCount: the number of the hub's loops.
    ///   - onDrained: called on a loop's thread when the last connection of a drain has gone.
    /// When the first of the certificates ends, in seconds since 1970; nil without TLS.
    private let certificateExpiry: @Sendable () -> Int64?

    init(
        hub: Hub, engine: any Engine, access: Access, settings: ServerSettings, loopCount: Int,
        certificateExpiry: @escaping @Sendable () -> Int64? = { nil }, onDrained: @escaping @Sendable () -> Void
    ) {
        self.hub = hub
        self.engine = engine
        self.access = access
        limits = Limits(
            batch: settings.maxBatch, waitSeconds: Int(settings.maxWait.components.seconds),
            filters: settings.maxFiltersPerConnection)
        router = Router(echoPath: settings.echoPath)
        origins = OriginPolicy(settings.allowedOrigins)
        hasHSTS = settings.hsts > .zero
        pages = StaticPages()
        idempotency = IdempotencyCache(window: settings.idempotencyWindow, limit: settings.idempotencyKeys)
        publishRates = PublishRates(rate: settings.publishRate, burst: settings.publishBurst)
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
        guard admits(request) else {
            refuseOrigin(request)
            return
        }
        let route = router.route(request.method, request.path)
        guard access.isOn, route.isGuarded else {
            serve(request, route, as: access.anonymous)
            return
        }
        switch access.identify(request) {
        case .known(let grant): serve(request, route, as: grant)
        case .refused(let problem):
            if route.isPublish { refusals.count(problem.kind) }
            refuse(problem, request)
        case .unchecked(let token):
            check(token, request, isPublish: route.isPublish) { service, request, grant in
                service.serve(request, route, as: grant)
            }
        }
    }

    /// Does what a route is for, by a grant.
    private func serve(_ request: consuming Request, _ route: Route, as grant: Grant) {
        switch route {
        case .publishOne(let offset): publishOne(request, topicFrom: offset, as: grant)
        case .publishMany: publishMany(request, as: grant)
        case .read(let offset): read(request, filterFrom: offset, as: grant)
        case .renew(let offset): renew(request, readerFrom: offset, as: grant)
        case .revoke: revoke(request, as: grant)
        case .echo: echo(request)
        case .topics: listTopics(request, as: grant)
        case .topic(let offset): tellTopic(request, from: offset, as: grant)
        case .purge(let offset): purgeTopic(request, from: offset, as: grant)
        case .metrics: request.answer(metrics())
        case .health: request.answer(Health.live)
        case .readiness: request.answer(readiness())
        case .page(let name): answerPage(request, name)
        case .options(let methods): answerOptions(request, methods)
        case .refused(let problem): refuse(problem, request)
        }
    }

    /// Checks a token off the loop's thread, and goes on with the request by what it grants.
    func check(
        _ token: String, _ request: consuming Request, isPublish: Bool = false,
        then serve: @escaping @Sendable (Service, consuming Request, Grant) -> Void
    ) {
        guard access.beginCheck() else {
            refuse(.tooManyChecks, request)
            return
        }
        let parked = request.park()
        let service = self
        Task {
            let outcome = await service.access.check(token)
            parked.resume { request in
                service.access.endCheck()
                switch outcome {
                case .success(let grant): serve(service, request, grant)
                case .failure(let problem):
                    if isPublish { service.refusals.count(problem.kind) }
                    service.refuse(problem, request)
                }
            }
        }
    }

    /// Readers have gone. On a loop's thread.
    func readersGone(_ leases: [Lease]) {
        access.admissions.forget(leases)
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
            hub: hub.statistics, log: log, refusals: refusals.snapshot, access: access.counts, loops: loopCount,
            version: ServerRunner.version, uptime: startedAt.duration(to: .now),
            processorTime: ProcessorTime.used)
        return .text(200, text.rendered, contentType: MetricsText.contentType)
    }

    private func readiness() -> Response {
        Health.readiness(isDraining: hub.isDraining, probeAge: hub.probeAge)
    }

    private func answerPage(_ request: consuming Request, _ name: PageName) {
        let response = pages.response(name, unlessTagged: request.header(.ifNoneMatch)?.text())
        request.answer(response)
    }

    /// Finds out whether whoever asks may, and has the answer say what it must because of who it is.
    private func admits(_ request: borrowing Request) -> Bool {
        let isOfAPI = router.isOfAPI(request.path)
        let caller = isOfAPI ? origins.caller(of: request) : .own
        var situation = AnswerHeaders.Situation(
            audience: isOfAPI ? .own : .everybody, isPost: request.method == .post,
            isSecure: hasHSTS && request.isSecure)
        if case .allowed(let place) = caller { situation.audience = .page(place) }
        for name in PageName.imported where request.path.equals(name.rawValue) { situation.audience = .importers }
        request.setHeaders(situation.index)
        return caller != .refused
    }

    private func refuseOrigin(_ request: consuming Request) {
        let problem = OriginPolicy.problem(of: request)
        if request.method == .post { refusals.count(problem.kind) }
        refuse(problem, request)
    }

    private func answerOptions(_ request: consuming Request, _ methods: [RequestMethod]) {
        var response = Response(status: 204)
        response.add("Allow", RequestMethod.list(methods))
        if router.isOfAPI(request.path), !origins.isClosed {
            Preflight.answer(request, allowing: methods, in: &response)
        }
        request.answer(response)
    }
}
