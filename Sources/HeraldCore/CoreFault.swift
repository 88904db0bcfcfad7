internal import CHeraldBase

/// Why the core could not do something that has nothing to do with a request.
public enum CoreFault: Error, Sendable, Hashable, CustomStringConvertible {
    /// There is no memory.
    case outOfMemory
    /// The address cannot be parsed or is none of this machine's.
    case badAddress
    /// Another program listens on the address.
    case addressInUse
    /// This user may not listen on the address.
    case accessDenied
    /// The process has no file descriptors left.
    case outOfDescriptors
    /// Something else, in the core's words.
    case other(String)

    /// What is wrong, to follow "cannot do it: ".
    public var description: String {
        switch self {
        case .outOfMemory: "there is no memory"
        case .badAddress: "the address is none of this machine's"
        case .addressInUse: "the address is in use by another program"
        case .accessDenied: "this user may not use that port"
        case .outOfDescriptors: "the process has no file descriptors left"
        case .other(let text): text
        }
    }

    init(_ status: hr_status) {
        switch status {
        case .outOfMemory: self = .outOfMemory
        case .badAddress: self = .badAddress
        case .addressInUse: self = .addressInUse
        case .accessDenied: self = .accessDenied
        case .outOfDescriptors: self = .outOfDescriptors
        case .ok, .invalid, .tooBig, .limitReached, .notFound, .beyondHead, .closed, .protocolError, .ioError,
            .tooManyOfAddress, .busy:
            self = .other(status.text)
        }
    }

    static func check(_ status: hr_status) throws(CoreFault) {
        if status != .ok { throw CoreFault(status) }
    }
}

extension hr_status {
    /// The core's phrase for a status.
    var text: String {
        guard let phrase = unsafe hr_status_text(self) else { return "failed" }
        return unsafe String(cString: phrase)
    }
}
