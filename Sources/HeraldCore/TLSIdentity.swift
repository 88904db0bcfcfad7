internal import CHeraldBase
internal import CHeraldNet

/// What a server shows and demands in TLS handshakes: certificates with their keys, and whose certificates clients need.
@safe
public final class TLSIdentity: Sendable {
    /// A certificate with its chain, and its key, as paths of PEM files.
    public struct Pair: Sendable, Hashable {
        /// The file of the certificate, followed by those that lead to its authority.
        public var certificateFile: String
        /// The file of the certificate's key, which has no passphrase.
        public var keyFile: String

        /// Names the files.
        public init(certificateFile: String, keyFile: String) {
            self.certificateFile = certificateFile
            self.keyFile = keyFile
        }
    }

    /// Which files are read.
    public struct Files: Sendable, Hashable {
        /// The certificates, at least one; the first serves clients that ask for no name, or none of these.
        public var pairs: [Pair]
        /// The authorities one of which clients must have a certificate of; nil if none is asked for.
        public var clientAuthorityFile: String?
        /// Whether TLS 1.2 is refused.
        public var isTLS13Only: Bool

        /// Names the files.
        public init(pairs: [Pair], clientAuthorityFile: String? = nil, isTLS13Only: Bool = false) {
            self.pairs = pairs
            self.clientAuthorityFile = clientAuthorityFile
            self.isTLS13Only = isTLS13Only
        }
    }

    // Shared safely: hr_tls.h lets any thread use it.
    nonisolated(unsafe) let handle: OpaquePointer

    /// When the first of the certificates ends, in seconds since 1970.
    public var expiry: Int64 { unsafe hr_tls_expires_s(handle) }

    /// Reads the files. Tickets that `previous` gave out stay good. Throws what is wrong with which file.
    public init(_ files: Files, replacing previous: TLSIdentity? = nil) throws(CoreFault) {
        var why = [CChar](repeating: 0, count: Int(HR_TLS_WHY_LEN))
        var handle: OpaquePointer?
        let status = unsafe Self.make(files, previous?.handle, &handle, &why)
        guard status == .ok, let handle = unsafe handle else {
            let text = why.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            throw status == .outOfMemory ? .outOfMemory : .other(String(decoding: text, as: UTF8.self))
        }
        unsafe self.handle = handle
    }

    deinit {
        var handle: OpaquePointer? = unsafe handle
        unsafe hr_tls_unref(&handle)
    }

    private static func make(
        _ files: Files, _ before: OpaquePointer?, _ handle: inout OpaquePointer?, _ why: inout [CChar]
    ) -> hr_status {
        let names = files.pairs.flatMap { [$0.certificateFile, $0.keyFile] }
        // The paths' bytes, each ended by a zero, one behind the other.
        var bytes: [CChar] = []
        var starts: [Int] = []
        for name in names + [files.clientAuthorityFile ?? ""] {
            starts.append(bytes.count)
            bytes += name.utf8.map { CChar(bitPattern: $0) } + [0]
        }
        return unsafe bytes.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return hr_status.invalid }
            let pairs = unsafe stride(from: 0, to: names.count, by: 2).map { index in
                unsafe hr_tls_pair(certificate_file: base + starts[index], key_file: base + starts[index + 1])
            }
            return unsafe pairs.withUnsafeBufferPointer { pairs in
                var config = unsafe hr_tls_config(
                    pairs: pairs.baseAddress, pair_count: pairs.count,
                    client_ca_file: files.clientAuthorityFile == nil ? nil : base + starts[names.count],
                    tls13_only: files.isTLS13Only)
                return unsafe hr_tls_new(&config, before, &handle, &why)
            }
        }
    }
}
