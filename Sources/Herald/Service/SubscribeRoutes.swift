import HeraldCore

extension Service {
    /// `GET /v1/events/{filter}`: the request becomes a reader of the transport that it asks for.
    func read(_ request: consuming Request, filterFrom offset: Int?) {
        let subscription: Subscription
        do throws(Problem) {
            subscription = try self.subscription(for: request, filterFrom: offset)
        } catch {
            refuse(error, request)
            return
        }
        switch request.subscribe(subscription) {
        case .done:
            return
        case .refused(let request, let fault):
            refuse(
                Problem(fault, position: subscription.position, filterLimit: limits.filters), request)
        }
    }

    /// `GET` of the echo path, for conformance suites.
    func echo(_ request: consuming Request) {
        guard request.wantsWebSocket else {
            refuse(Problem(.upgradeRequired, "this path only answers WebSocket handshakes"), request)
            return
        }
        if let fault = request.handshakeFault {
            refuse(Problem(fault), request)
            return
        }
        switch request.echo() {
        case .done:
            return
        case .refused(let request, let fault):
            refuse(Problem(fault, position: .latest, filterLimit: limits.filters), request)
        }
    }

    private func subscription(
        for request: borrowing Request, filterFrom offset: Int?
    ) throws(Problem) -> Subscription {
        var input = SubscribeInput()
        do throws(QueryFault) { input.query = try request.queryPairs() } catch { throw Problem(error) }
        input.isHead = request.method == .head
        input.wantsWebSocket = !input.isHead && request.wantsWebSocket
        if input.wantsWebSocket, let fault = request.handshakeFault { throw Problem(fault) }
        input.filter = offset.map { request.path.dropFirst($0).text() }
        input.lastEventID = request.header("Last-Event-ID")?.text()
        input.prefer = request.header("Prefer")?.text()
        input.accept = request.header("Accept")?.text()
        let subscription = try SubscribeParameters(limits: limits).subscription(input)
        // A stream that begins now would only be told to go.
        guard subscription.transport == .shortPoll || !hub.isDraining else {
            throw Problem(.draining, "the server is shutting down; come back later")
        }
        return subscription
    }
}
