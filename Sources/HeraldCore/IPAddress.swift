internal import CHeraldBase
internal import CHeraldWire

/// An IP address. One of IPv4 that comes mapped into IPv6 is the IPv4 address.
public struct IPAddress: Sendable, Hashable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// Reads an address alone: `192.0.2.1`, `2001:db8::1`; nil for anything else.
    public init?(_ text: String) {
        var core = hr_address()
        let status = unsafe text.withSlice { unsafe hr_address_parse($0, &core) }
        guard status == .ok else { return nil }
        self.init(bits: core)
    }

    /// Takes the core's; nil when it is none.
    init?(_ core: hr_address) {
        var core = core
        guard unsafe !hr_address_is_none(&core) else { return nil }
        self.init(bits: core)
    }

    fileprivate init(bits core: hr_address) {
        (high, low) = unsafe withUnsafeBytes(of: core) { bytes in
            unsafe (bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
    }

    fileprivate var core: hr_address {
        var core = hr_address()
        unsafe withUnsafeMutableBytes(of: &core) { bytes in
            unsafe bytes.storeBytes(of: high, as: UInt64.self)
            unsafe bytes.storeBytes(of: low, toByteOffset: 8, as: UInt64.self)
        }
        return core
    }

    /// What stands for it where clients are counted: an IPv4 address itself, of IPv6 its /64.
    public var counted: IPAddress {
        var core = core
        return IPAddress(bits: unsafe hr_address_counted(&core))
    }

    /// The address as RFC 5952 writes it.
    public var description: String {
        var core = core
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(HR_ADDRESS_TEXT_MAX)) { text in
            let length = unsafe hr_address_format(&core, text.baseAddress)
            return unsafe hr_slice(data: text.baseAddress, len: length).text
        }
    }
}

/// The IP addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`; an address alone is a range of one.
public struct IPRange: Sendable, Hashable, CustomStringConvertible {
    private let base: IPAddress
    private let bits: UInt8
    /// The range as it was written.
    public let description: String

    /// Reads a range; nil for anything else, and when the address has bits behind its first `bits`.
    public init?(_ text: String) {
        var core = hr_address_range()
        let status = unsafe text.withSlice { unsafe hr_address_range_parse($0, &core) }
        guard status == .ok else { return nil }
        base = IPAddress(bits: core.base)
        bits = core.bits
        description = text
    }

    /// The range as the core has it.
    var core: hr_address_range {
        hr_address_range(base: base.core, bits: bits)
    }
}

/// The header in which proxies say whose requests they pass on.
public enum ForwardedHeader: String, Sendable, Hashable, CaseIterable {
    /// None is believed.
    case none
    /// `Forwarded` (RFC 7239)
    case forwarded
    /// `X-Forwarded-For`
    case xForwardedFor = "x-forwarded-for"

    /// The header as the core has it.
    var core: hr_forwarded_form {
        switch self {
        case .none: .HR_FORWARDED_NONE
        case .forwarded: .HR_FORWARDED_RFC7239
        case .xForwardedFor: .HR_FORWARDED_X_FOR
        }
    }
}
