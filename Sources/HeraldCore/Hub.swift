internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldLog
import Synchronization

/// What a hub calls for everything that is done once per request.
public protocol RequestHandler: Sendable {
    /// Ends `request`, by answering it or making it a reader. On the thread of the request's loop, which waits for it.
    func handle(_ request: consuming Request)

    /// The readers that had these leases have gone; each is told of once. On a loop's thread, or, for those that a stop
    /// took, on the thread of that.
    func readersGone(_ leases: [Lease])

    /// The last connection of a drain has gone. On a loop's thread.
    func drained()
}

/// The event loops with their listeners and sessions, joined to one log.
///
/// Life: make, ``listen(host:port:)``, ``start(_:)``, ``drain()``, ``stop()``. What is not marked otherwise is called by
/// the owner, one call at a time.
@safe
public final class Hub: Sendable {
    /// The log that the hub's readers read. Any thread.
    public let log: Log

    // Shared safely: the pointer never changes, and the functions that are called on it from more than the owner's
    // thread are those that hr_hub.h marks ANY.
    private nonisolated(unsafe) let handle: OpaquePointer
    private let door: HandlerDoor
    private let isStarted = Mutex(false)

    /// Makes a hub that neither listens nor runs. Throws `outOfMemory`.
    public init(_ configuration: HubConfiguration, log: Log) throws(CoreFault) {
        self.log = log
        let door = HandlerDoor()
        var handler = unsafe hr_hub_handler(
            on_request: hubOnRequest, on_leases_gone: hubOnLeasesGone, on_drained: hubOnDrained,
            context: Unmanaged.passUnretained(door).toOpaque())
        var handle: OpaquePointer?
        let status = unsafe configuration.withCore { core in
            unsafe hr_hub_new(&core, &handler, log.handle, &handle)
        }
        try CoreFault.check(status)
        guard let handle = unsafe handle else { throw CoreFault.outOfMemory }
        self.door = door
        unsafe self.handle = handle
    }

    deinit {
        stop()
        var handle: OpaquePointer? = unsafe handle
        unsafe hr_hub_free(&handle)
    }

    /// Binds a numeric address; port 0 lets the system choose. Returns the port. Throws why it cannot.
    public func listen(host: String, port: UInt16) throws(CoreFault) -> UInt16 {
        try listen(.HR_LISTEN_PLAIN, host, port)
    }

    /// Binds a numeric address for clients that begin with TLS, which needs ``use(_:)`` before. Otherwise as
    /// ``listen(host:port:)``.
    public func listenSecurely(host: String, port: UInt16) throws(CoreFault) -> UInt16 {
        try listen(.HR_LISTEN_TLS, host, port)
    }

    private func listen(_ kind: hr_listener_kind, _ host: String, _ port: UInt16) throws(CoreFault) -> UInt16 {
        var bound: UInt16 = 0
        try CoreFault.check(unsafe hr_hub_listen(handle, kind, host, port, &bound))
        return bound
    }

    /// Has connections begin TLS by `identity` from now on; those that are there keep what they have. Any thread once
    /// started.
    public func use(_ identity: TLSIdentity) throws(CoreFault) {
        try CoreFault.check(unsafe hr_hub_set_tls(handle, identity.handle))
    }

    /// Starts the loops and accepts connections, whose requests go to `handler` until the hub has stopped.
    public func start(_ handler: any RequestHandler) throws(CoreFault) {
        door.open(to: handler)
        isStarted.withLock { $0 = true }
        try CoreFault.check(unsafe hr_hub_start(handle))
    }

    /// Accepts no more and ends every session in order; ``RequestHandler/drained()`` follows. Any thread.
    public func drain() {
        unsafe hr_hub_drain(handle)
    }

    /// Whether every loop was given an io_uring, which the kernel or a container's rules may refuse. True only when all
    /// of them run. Any thread.
    public var hasIOUring: Bool { unsafe hr_hub_has_io_uring(handle) }

    /// Whether a drain has begun. Any thread.
    public var isDraining: Bool { unsafe hr_hub_is_draining(handle) }

    /// Ends what is left at once and waits for the loops. Not on a loop's thread.
    public func stop() {
        let wasStarted = isStarted.withLock { isStarted in
            defer { isStarted = false }
            return isStarted
        }
        guard wasStarted else { return }
        unsafe hr_hub_stop(handle)
        door.close()
    }

    /// The time since the loop that is furthest behind last proved that it lives; nil before the first proof. Any thread.
    public var probeAge: Duration? {
        let age = unsafe hr_hub_probe_age_ms(handle)
        return age == .max ? nil : .milliseconds(Int64(clamping: age))
    }

    /// What all loops together have counted. Any thread.
    public var statistics: HubStatistics {
        var core = hr_stats()
        unsafe hr_hub_stats_get(handle, &core)
        return HubStatistics(core)
    }

    /// Appends all of the publications or none. Any thread.
    public func publish(_ publications: borrowing Publications) throws(PublishFault) -> Receipts {
        try unsafe publications.append(to: handle)
    }
}

/// What the hub's callbacks find their handler through.
///
/// `@unchecked`: `handler` is written before the loops' threads are made and after they have been joined; between
/// the two it is only read.
private final class HandlerDoor: @unchecked Sendable {
    // Written before the loops run and after they have ended; a check at each request would find nothing.
    @exclusivity(unchecked) private var handler: (any RequestHandler)?

    func open(to handler: any RequestHandler) {
        unsafe self.handler = handler
    }

    func close() {
        unsafe handler = nil
    }

    func handle(_ request: consuming Request) {
        unsafe handler?.handle(request)
    }

    func readersGone(_ leases: [Lease]) {
        unsafe handler?.readersGone(leases)
    }

    func drained() {
        unsafe handler?.drained()
    }
}

/// `hr_hub_handler.on_request`.
private func hubOnRequest(_ handle: OpaquePointer?, _ context: UnsafeMutableRawPointer?) {
    guard let handle = unsafe handle, let context = unsafe context else { return }
    let door = unsafe Unmanaged<HandlerDoor>.fromOpaque(context).takeUnretainedValue()
    let request = unsafe Request(handle)
    door.handle(request)
}

/// `hr_hub_handler.on_leases_gone`.
private func hubOnLeasesGone(
    _ contexts: UnsafePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ context: UnsafeMutableRawPointer?
) {
    guard let context = unsafe context else { return }
    let contexts = unsafe UnsafeBufferPointer(start: contexts, count: count)
    let leases = unsafe contexts.compactMap { unsafe $0.map { unsafe Lease.taken(from: $0) } }
    unsafe Unmanaged<HandlerDoor>.fromOpaque(context).takeUnretainedValue().readersGone(leases)
}

/// `hr_hub_handler.on_drained`.
private func hubOnDrained(_ context: UnsafeMutableRawPointer?) {
    guard let context = unsafe context else { return }
    unsafe Unmanaged<HandlerDoor>.fromOpaque(context).takeUnretainedValue().drained()
}
