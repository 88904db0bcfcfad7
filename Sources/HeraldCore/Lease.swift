internal import CHeraldBase
internal import CHeraldHub

/// The right by which a reader is there, as its giver holds it: by it the reader can be told something, and be ended.
///
/// It is given to a reader by ``Request/subscribe(_:filterFrom:lease:)``, and comes back by
/// ``RequestHandler/readersGone(_:)`` when the reader has gone. Any thread, until the hub has stopped.
@safe
public final class Lease: Sendable {
    /// What the right is; its giver knows.
    public let holder: any AnyObject & Sendable

    // Shared safely: the pointer never changes, and hr_lease.h marks what is called on it ANY.
    private nonisolated(unsafe) let core: OpaquePointer

    /// Makes a lease for whatever reader `request` becomes. Throws `outOfMemory`.
    public init(for request: borrowing Request, holder: any AnyObject & Sendable) throws(CoreFault) {
        self.holder = holder
        // Not yet known to itself: the context is set as soon as there is one.
        var core: OpaquePointer?
        try CoreFault.check(unsafe hr_lease_new(request.handle, &core))
        guard let core = unsafe core else { throw CoreFault.outOfMemory }
        unsafe self.core = core
        unsafe hr_lease_set_context(core, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        var core: OpaquePointer? = unsafe core
        unsafe hr_lease_unref(&core)
    }

    /// Calls `body` with the core's lease; if it succeeds a reader has that, and keeps this one alive until it has gone.
    func lend(_ body: (OpaquePointer) -> hr_status) -> hr_status {
        // Before the call, in which the reader may already go.
        let kept = unsafe Unmanaged.passRetained(self)
        let status = unsafe body(core)
        if status != .ok { unsafe kept.release() }
        return status
    }

    /// The lease of a context, which its reader no longer keeps alive.
    static func taken(from context: UnsafeMutableRawPointer) -> Lease {
        unsafe Unmanaged<Lease>.fromOpaque(context).takeRetainedValue()
    }

    /// The lease of a context.
    static func kept(by context: UnsafeMutableRawPointer) -> Lease {
        unsafe Unmanaged<Lease>.fromOpaque(context).takeUnretainedValue()
    }

    /// Has the reader's client be told `{"control":name,members}`; polls and WebSockets that carry data alone are not.
    /// `members` is JSON without braces and line breaks. Without memory nothing is told.
    public func tell(_ name: StaticString, members: [UInt8]) {
        _ = unsafe members.withSlice { members in unsafe hr_lease_tell(core, hr_slice(name), members) }
    }

    /// What a reader's client gets to know of its end.
    public struct End: Sendable {
        /// The status of the answer to a held poll.
        public var status: Int
        /// The members of a problem: JSON without braces and line breaks.
        public var members: [UInt8]
        /// The `WWW-Authenticate` header of that answer; empty: none.
        public var challenge: String
        /// The code of a WebSocket's close frame.
        public var code: UInt16
        /// Its reason, of which 123 bytes are sent.
        public var reason: String

        /// Makes an end.
        public init(status: Int, members: [UInt8], challenge: String, code: UInt16, reason: String) {
            self.status = status
            self.members = members
            self.challenge = challenge
            self.code = code
            self.reason = reason
        }
    }

    /// Ends the reader. Throws `outOfMemory`: it has not been ended.
    public func endReader(_ end: End) throws(CoreFault) {
        let status = unsafe end.members.withSlice { members in
            unsafe end.challenge.withSlice { challenge in
                unsafe end.reason.withSlice { reason in
                    var letter = unsafe hr_lease_end(
                        status: UInt32(end.status), members: members, challenge: challenge, code: end.code, text: reason
                    )
                    return unsafe hr_lease_end_reader(core, &letter)
                }
            }
        }
        try CoreFault.check(status)
    }
}

extension Request {
    /// The lease of the reader that a command came from, if it has one. Precondition: a command.
    public var lease: Lease? {
        guard let core = unsafe hr_request_lease(handle), let context = unsafe hr_lease_context(core) else {
            return nil
        }
        return unsafe Lease.kept(by: context)
    }
}
