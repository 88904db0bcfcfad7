internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldWire

/// What a WebSocket client asks for; cannot outlive its request.
@safe
public struct Command: ~Escapable {
    private let core: UnsafePointer<hr_command>

    @_lifetime(borrow request)
    init(_ core: UnsafePointer<hr_command>, of request: borrowing Request) {
        unsafe self.core = core
    }

    /// What is to be done.
    public var operation: CommandOperation {
        switch unsafe core.pointee.op {
        case .HR_COMMAND_SUBSCRIBE: .subscribe
        case .HR_COMMAND_UNSUBSCRIBE: .unsubscribe
        case .HR_COMMAND_PUBLISH: .publish
        case .HR_COMMAND_PING: .ping
        case .HR_COMMAND_RENEW: .renew
        }
    }

    /// The filters that it names, unchecked.
    public var filters: [String] {
        let slices = unsafe UnsafeBufferPointer(start: core.pointee.filters, count: core.pointee.filter_count)
        return unsafe slices.map { unsafe $0.text }
    }

    /// The cursor that it names, unchecked; nil when none.
    public var after: String? {
        let after = unsafe core.pointee.after
        return unsafe after.len == 0 ? nil : after.text
    }

    /// The token of a renewal, unchecked; empty otherwise.
    public var token: String { unsafe core.pointee.token.text }
}

/// What a WebSocket client can ask for.
public enum CommandOperation: Sendable, Hashable {
    /// To add filters.
    case subscribe
    /// To take filters away.
    case unsubscribe
    /// To publish an event.
    case publish
    /// To be answered.
    case ping
    /// To go on with another token.
    case renew
}

extension Request {
    /// The command. Precondition: a command.
    public var command: Command {
        @_lifetime(borrow self)
        get {
            guard let core = unsafe hr_request_command(handle) else {
                preconditionFailure("a command without its content")
            }
            return unsafe Command(core, of: self)
        }
    }
}
