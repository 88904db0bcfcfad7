import NIOCore
import NIOSSL

/// How a client speaks TLS.
package enum TLSSettings {
    /// The settings of all connections. Throws `unusable` if the authorities cannot be read.
    package static func make(_ configuration: ClientConfiguration) throws(HeraldError) -> TLSConfiguration {
        var settings = TLSConfiguration.makeClientConfiguration()
        if let file = configuration.trustedAuthorityFile {
            do {
                settings.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            } catch {
                throw .unusable("\"\(file)\" cannot be read as certificates: \(error)")
            }
        }
        return settings
    }

    /// The handler of a WebSocket's connection, which is HTTP/1.1's. Call once a connection.
    static func webSocketHandler(
        _ configuration: ClientConfiguration, host: String
    ) throws -> NIOSSLClientHandler {
        var settings = try make(configuration)
        settings.applicationProtocols = ["http/1.1"]
        // RFC 6066 §3: an address is no server name.
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        return try NIOSSLClientHandler(
            context: NIOSSLContext(configuration: settings), serverHostname: isAddress ? nil : host)
    }
}
