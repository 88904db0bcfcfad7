internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldNet

/// A request that waits for something that its loop's thread must not wait for.
///
/// It comes back exactly once, by ``resume(_:)``, and before the hub is freed.
@safe
public struct ParkedRequest: ~Copyable, Sendable {
    // Sent safely: nothing is done to the request until it is on its loop's thread again; until then only the loop is
    // asked for, which never changes.
    private nonisolated(unsafe) let handle: OpaquePointer

    init(_ handle: OpaquePointer) {
        unsafe self.handle = handle
    }

    deinit {
        // It is let go of where it may be, and answered 500.
        unsafe Self.send(handle) { _ in }
    }

    /// Calls `body` with the request on its loop's thread, soon. Any thread.
    public consuming func resume(_ body: @escaping @Sendable (consuming Request) -> Void) {
        let handle = unsafe handle
        discard self
        unsafe Self.send(handle, body)
    }

    private static func send(_ handle: OpaquePointer, _ body: @escaping @Sendable (consuming Request) -> Void) {
        let letter = unsafe Unmanaged.passRetained(Letter(handle, body)).toOpaque()
        // Without memory for the letter there is no other way to the request's thread.
        let status = unsafe hr_loop_post(hr_request_loop(handle), openLetter, letter)
        precondition(status == .ok, "out of memory")
    }
}

extension Request {
    /// Takes the request off its loop's thread, which goes on with other work.
    public consuming func park() -> ParkedRequest {
        unsafe ParkedRequest(release())
    }
}

/// A request on its way back, and what is to be done with it.
@safe
private final class Letter {
    private let handle: OpaquePointer
    private let body: (consuming Request) -> Void

    init(_ handle: OpaquePointer, _ body: @escaping (consuming Request) -> Void) {
        unsafe self.handle = handle
        self.body = body
    }

    func open() {
        body(unsafe Request(handle))
    }
}

/// `hr_loop_fn`.
private func openLetter(_ context: UnsafeMutableRawPointer?) {
    guard let context = unsafe context else { return }
    unsafe Unmanaged<Letter>.fromOpaque(context).takeRetainedValue().open()
}
