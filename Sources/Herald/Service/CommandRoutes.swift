import HeraldCore

extension Service {
    /// Performs what a WebSocket client asks for, and answers it on its connection.
    func perform(_ request: consuming Request) {
        let operation = request.command.operation
        switch operation {
        case .ping: request.pong()
        case .publish: publishCommand(request)
        case .subscribe: addFilters(request)
        case .unsubscribe: removeFilters(request)
        }
    }

    private func addFilters(_ request: consuming Request) {
        let filters: [FilterName]
        let position: Position
        do throws(Problem) {
            filters = try CommandChecks.filters(request.command.filters)
            position = try CommandChecks.position(request.command.after)
        } catch {
            refuse(error, request)
            return
        }
        switch request.addFilters(filters, position: position) {
        case .done:
            return
        case .refused(let request, .invalid):
            refuse(
                Problem(
                    .badCursor,
                    "after counts in a connection's first subscription only; later filters start at its place"),
                request)
        case .refused(let request, let fault):
            refuse(Problem(fault, position: position, filterLimit: limits.filters), request)
        }
    }

    private func removeFilters(_ request: consuming Request) {
        let filters: [FilterName]
        do throws(Problem) {
            filters = try CommandChecks.filters(request.command.filters)
            if request.command.after != nil { throw Problem(.badRequest, "unsubscribe takes no after") }
        } catch {
            refuse(error, request)
            return
        }
        switch request.removeFilters(filters) {
        case .done:
            return
        case .refused(let request, let fault):
            refuse(Problem(fault, position: .latest, filterLimit: limits.filters), request)
        }
    }
}

/// What has to be true of a command before it is performed.
enum CommandChecks {
    /// Where a subscription begins: at what is given, else with the next event.
    static func position(_ after: String?) throws(Problem) -> Position {
        guard let after else { return .latest }
        return try after.withBytes { text throws(Problem) in try SubscribeParameters.position(text, named: "after") }
    }

    /// Filters out of texts, at least one.
    static func filters(_ texts: [String]) throws(Problem) -> [FilterName] {
        guard !texts.isEmpty else { throw Problem(.badFilter, "there is no filter; expected topic or topics") }
        var filters: [FilterName] = []
        for text in texts {
            do throws(NameFault) {
                filters.append(try FilterName(text))
            } catch {
                throw Problem(.badFilter, error, in: text)
            }
        }
        return filters
    }
}
