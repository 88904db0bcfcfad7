internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldNet
import Synchronization

/// A request that waits for something that its loop's thread must not wait for.
///
/// It comes back once, by ``resume(_:)``, before the hub is freed; one that is let go of is answered 500. Not a noncopyable
/// value, like the request, because a task cannot consume what it captures.
@safe
public final class ParkedRequest: Sendable {
    // Sent safely: until the request is on its loop's thread again nothing is done to it but to ask for that loop, which
    // never changes.
    private nonisolated(unsafe) let handle: OpaquePointer
    private let isBack = Atomic<Bool>(false)

    fileprivate init(_ handle: OpaquePointer) {
        unsafe self.handle = handle
    }

    deinit {
        if !isBack.load(ordering: .acquiring) { send { _ in } }
    }

    /// Calls `body` with the request on its loop's thread, soon. Once. Any thread.
    public func resume(_ body: @escaping @Sendable (consuming Request) -> Void) {
        precondition(!isBack.exchange(true, ordering: .acquiringAndReleasing), "a request came back twice")
        send(body)
    }

    private func send(_ body: @escaping @Sendable (consuming Request) -> Void) {
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
