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
        switch request.subscribe(subscription, filterFrom: offset) {
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
        try request.forEachQueryPair(fault: { Problem($0) }) { name, value throws(Problem) in
            try input.query.take(name, value, longest: limits.waitSeconds)
        }
        input.isHead = request.method == .head
        input.wantsWebSocket = !input.isHead && request.wantsWebSocket
        if input.wantsWebSocket, let fault = request.handshakeFault { throw Problem(fault) }
        if let offset {
            input.hasPathFilter = true
            let filter = request.path.dropFirst(offset)
            if let fault = FilterName.fault(in: filter) { throw Problem(.badFilter, fault, in: filter.text()) }
        }
        if let cursor = request.header(.lastEventID), !cursor.isEmpty {
            input.lastEventID = try SubscribeParameters.position(cursor, named: "Last-Event-ID")
        }
        input.prefer = request.header(.prefer)?.text()
        input.accept = request.header(.accept)?.text()
        let subscription = try SubscribeParameters(limits: limits).subscription(input)
        // A stream that begins now would only be told to go.
        guard subscription.transport == .shortPoll || !hub.isDraining else {
            throw Problem(.draining, "the server is shutting down; come back later")
        }
        return subscription
    }
}
