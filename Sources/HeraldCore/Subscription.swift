internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldLog

/// What a reader wants.
public struct Subscription: Sendable, Hashable {
    /// How it is served.
    public var transport: Transport
    /// Its filters, besides one in the request's path; only a WebSocket may begin without any.
    public var filters: [FilterName]
    /// Where it begins.
    public var position: Position
    /// Whether a stream gets the data of events alone.
    public var isRaw = false
    /// How long a long-poll may be held, in milliseconds.
    public var waitMilliseconds: UInt32 = 0
    /// How many events a poll is answered with, at most.
    public var limit: UInt32 = 100

    /// Makes a subscription.
    public init(_ transport: Transport, filters: [FilterName], position: Position) {
        self.transport = transport
        self.filters = filters
        self.position = position
    }

    /// Calls `body` with the subscription as C has it, which is good until it returns; `first` is one more filter.
    func withCore<Result>(and first: hr_slice? = nil, _ body: (inout hr_subscription) -> Result) -> Result {
        if filters.isEmpty, var first = unsafe first {
            return unsafe withUnsafePointer(to: &first) { only in unsafe core(over: only, count: 1, body) }
        }
        return unsafe filters.withSlices(after: first) { filters in
            unsafe core(over: filters.baseAddress, count: filters.count, body)
        }
    }

    private func core<Result>(
        over filters: UnsafePointer<hr_slice>?, count: Int, _ body: (inout hr_subscription) -> Result
    ) -> Result {
        var core = unsafe hr_subscription()
        unsafe core.transport = transport.core
        unsafe core.filters = filters
        unsafe core.filter_count = count
        switch position {
        case .earliest: unsafe core.position = .HR_POSITION_EARLIEST
        case .latest: unsafe core.position = .HR_POSITION_LATEST
        case .after(let cursor):
            unsafe core.position = .HR_POSITION_CURSOR
            unsafe core.epoch = cursor.epoch
            unsafe core.sequence = cursor.sequence
        }
        unsafe core.raw = isRaw
        unsafe core.wait_ms = waitMilliseconds
        unsafe core.max = limit
        return unsafe body(&core)
    }
}

extension [FilterName] {
    fileprivate func withSlices<Result>(
        after first: hr_slice? = nil, _ body: (UnsafeBufferPointer<hr_slice>) -> Result
    ) -> Result {
        var texts = SliceArena()
        if let first = unsafe first { unsafe texts.append(first.text) }
        for filter in self { texts.append(filter.text) }
        return unsafe texts.withSlices(body)
    }
}

/// Why a request cannot become a reader, or a reader cannot change.
public enum SubscribeFault: Error, Sendable, Hashable {
    /// The cursor lies after the newest event.
    case beyondHead
    /// There would be too many filters, of this reader or of the server.
    case tooManyFilters
    /// The request does not fit: a bad handshake, or a position that comes too late.
    case invalid
    /// One of the filters is not subscribed to.
    case notSubscribed
    /// The server is going.
    case closed
    /// There is no memory.
    case outOfMemory
    /// The client's address has as many readers as it may.
    case tooManyOfAddress
    /// As many readers have begun in this second as may.
    case tooManyBegin

    init(_ status: hr_status) {
        switch status {
        case .beyondHead: self = .beyondHead
        case .limitReached, .tooBig: self = .tooManyFilters
        case .notFound: self = .notSubscribed
        case .closed: self = .closed
        case .invalid, .protocolError: self = .invalid
        case .tooManyOfAddress: self = .tooManyOfAddress
        case .busy: self = .tooManyBegin
        case .ok, .outOfMemory, .badAddress, .addressInUse, .accessDenied, .outOfDescriptors, .ioError:
            self = .outOfMemory
        }
    }
}

/// What became of a request that was to be a reader.
public enum SubscribeOutcome: ~Copyable {
    /// It is one, or it has been answered.
    case done
    /// It is as it was before, and must still be answered.
    case refused(Request, SubscribeFault)
}

extension Request {
    /// Makes the request a reader of the log: answers its head, replays, goes live; or answers the poll.
    ///
    /// - Parameters:
    ///   - subscription: what it wants.
    ///   - offset: where in the path its first filter begins; nil: the path has none.
    ///   - lease: what the reader is there by. If the request is not refused, it comes back by
    ///     ``RequestHandler/readersGone(_:)``. A short-poll has none.
    public consuming func subscribe(
        _ subscription: Subscription, filterFrom offset: Int? = nil, lease: Lease? = nil
    ) -> SubscribeOutcome {
        let first: hr_slice? = unsafe offset.map { unsafe path.dropFirst($0).slice }
        guard let lease else {
            return unsafe attempt { handle in
                unsafe subscription.withCore(and: first) { core in unsafe hr_request_subscribe(&handle, &core) }
            }
        }
        return unsafe attempt { handle in
            unsafe lease.lend { leased in
                unsafe subscription.withCore(and: first) { core in
                    unsafe core.lease = leased
                    return unsafe hr_request_subscribe(&handle, &core)
                }
            }
        }
    }

    /// Makes the request a WebSocket that echoes messages, for conformance suites.
    public consuming func echo() -> SubscribeOutcome {
        unsafe attempt { handle in unsafe hr_request_echo(&handle) }
    }

    /// Adds filters to the WebSocket that the command came on. Precondition: a command.
    ///
    /// Only the connection's first filters may come with a position other than `latest`; `invalid` otherwise.
    public consuming func addFilters(_ filters: [FilterName], position: Position) -> SubscribeOutcome {
        let subscription = Subscription(.webSocket, filters: filters, position: position)
        return unsafe attempt { handle in
            unsafe subscription.withCore { core in unsafe hr_request_add_filters(&handle, &core) }
        }
    }

    /// Takes filters away from the WebSocket that the command came on. Precondition: a command.
    public consuming func removeFilters(_ filters: [FilterName]) -> SubscribeOutcome {
        unsafe attempt { handle in
            unsafe filters.withSlices { slices in
                unsafe hr_request_remove_filters(&handle, slices.baseAddress, slices.count)
            }
        }
    }

    /// Hands the core's request to `call`, and takes it back if the call has not ended it.
    private consuming func attempt(_ call: (inout OpaquePointer?) -> hr_status) -> SubscribeOutcome {
        var handle: OpaquePointer? = unsafe release()
        let status = unsafe call(&handle)
        guard status != .ok, let handle = unsafe handle else { return .done }
        return .refused(unsafe Request(handle), SubscribeFault(status))
    }
}
