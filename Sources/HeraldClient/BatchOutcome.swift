/// What an attempt to publish a batch means for its events.
enum BatchOutcome: Sendable, Equatable {
    /// All were published.
    case published([Receipt])

    /// None was published, by the fault of this one: the others are to be sent again without it.
    case wrong(at: Int, HeraldError)

    /// None was published, as they are too many or too large together.
    case tooLarge(HeraldError)

    /// Nobody knows, or none was published but may be later: the same is to be tried again, under the same key.
    case again(after: Duration, HeraldError)

    /// None was published, or nobody will know.
    case failed(HeraldError)

    /// Judges an attempt.
    ///
    /// - Parameters:
    ///   - attempt: What became of the request.
    ///   - count: How many events it held.
    ///   - isUncertain: Whether an attempt before got no answer, so that the events may have been published.
    init(_ attempt: Result<CollectedAnswer, HeraldError>, count: Int, isUncertain: Bool) {
        switch attempt {
        case .success(let answer) where (200..<300).contains(answer.status):
            self.init(published: answer, count: count)
        case .success(let answer):
            self.init(Problem(answer), count: count, isUncertain: isUncertain)
        case .failure(.problem(let problem)):
            self.init(problem, count: count, isUncertain: isUncertain)
        case .failure(let error) where error.isTransient:
            self = .again(after: .zero, error)
        case .failure(let error):
            self = .failed(isUncertain || error.leavesOpen ? .unanswered(error.description) : error)
        }
    }

    private init(published answer: CollectedAnswer, count: Int) {
        do {
            let receipts = try HeraldClient.receipts(in: answer)
            guard receipts.count == count else {
                throw HeraldError.malformed("\(receipts.count) receipts for \(count) events")
            }
            self = .published(receipts)
        } catch {
            // It has been published, as it seems, but what became of which event is not known.
            self = .failed(.unanswered("\(error)"))
        }
    }

    private init(_ problem: Problem, count: Int, isUncertain: Bool) {
        if problem.isTransient {
            self = .again(after: problem.retryAfter ?? .zero, .problem(problem))
        } else if isUncertain, [401, 403].contains(problem.status) {
            // Rights are asked before the key is looked up: this says nothing of the attempt before.
            self = .failed(.unanswered(problem.description))
        } else if count > 1, let place = problem.index ?? problem.line.map({ $0 - 1 }), (0..<count).contains(place) {
            var own = problem
            (own.index, own.line) = (nil, nil)
            self = .wrong(at: place, .problem(own))
        } else if count > 1, problem.status == 413 {
            self = .tooLarge(.problem(problem))
        } else {
            self = .failed(.problem(problem))
        }
    }
}

extension HeraldError {
    /// Whether a request may have done its work though it failed.
    var leavesOpen: Bool {
        switch self {
        case .cut, .silent, .closed, .malformed, .tooLarge: true
        // Of what something before the server says nobody knows how far the request got.
        case .problem(let problem): problem.status >= 500 && !(problem.isOfServer && problem.status == 503)
        case .unreachable, .unusable, .gaveUp, .lost, .noToken, .unanswered, .tooMany: false
        }
    }
}
