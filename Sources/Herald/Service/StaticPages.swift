import HeraldCore

/// The console page, the client module and the contract, held in memory with their headers.
struct StaticPages: Sendable {
    private struct Page {
        let tag: String
        let found: Response
        let unchanged: Response
    }

    private let pages: [PageName: Page]

    /// Takes the files out of the program.
    init() {
        self.init(contents: [
            .console: PackageResources.console_html, .script: PackageResources.console_js,
            .style: PackageResources.console_css, .contract: PackageResources.openapi_txt,
            .module: PackageResources.herald_js, .moduleTypes: PackageResources.herald_d_ts,
            .consoleCost: PackageResources.cost_js, .consoleDom: PackageResources.dom_js,
            .consoleDraw: PackageResources.draw_js, .consoleLab: PackageResources.lab_js,
            .consoleLimit: PackageResources.limit_js, .consoleMeasure: PackageResources.measure_js,
            .consoleOverview: PackageResources.overview_js, .consolePublish: PackageResources.publish_js,
            .consolePublisher: PackageResources.publisher_js, .consoleServer: PackageResources.server_js,
            .consoleTail: PackageResources.tail_js, .consoleTransports: PackageResources.transports_js,
        ])
    }

    /// Takes the files given.
    init(contents: [PageName: [UInt8]]) {
        pages = Dictionary(
            uniqueKeysWithValues: contents.map { name, body in
                let tag = Self.tag(of: body)
                var found = Response(status: 200, contentType: name.contentType, body: body)
                var unchanged = Response(status: 304)
                Self.addHeaders(to: &found, tag: tag)
                Self.addHeaders(to: &unchanged, tag: tag)
                // Where Deno finds the types of a module.
                if name == .module { found.add("X-TypeScript-Types", "./herald.d.ts") }
                return (name, Page(tag: tag, found: found, unchanged: unchanged))
            })
    }

    /// The answer that holds a file, or says that the client has it, if `If-None-Match` names it.
    func response(_ name: PageName, unlessTagged tags: String?) -> Response {
        guard let page = pages[name] else {
            return Problem(.notFound, "this server was built without \(name.rawValue)").response
        }
        let known = HeaderText.list(tags ?? "")
        return known.contains("*") || known.contains(page.tag) ? page.unchanged : page.found
    }

    /// Nothing but our own files may be loaded or connected to, and nobody may frame the page: it can publish.
    static let policy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")

    private static func addHeaders(to response: inout Response, tag: String) {
        response.add("ETag", tag)
        response.add("Cache-Control", "no-cache")
        response.add("Content-Security-Policy", policy)
        response.add("X-Frame-Options", "DENY")
        // A token may stand in the address.
        response.add("Referrer-Policy", "no-referrer")
    }

    /// A tag out of the content, the same for every start and node (64-bit FNV-1a; it guards nothing).
    private static func tag(of body: [UInt8]) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in body {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
        }
        return "\"\(String(hash, radix: 16))\""
    }
}

extension PageName {
    /// The content type of the file.
    var contentType: String {
        switch self {
        case .console: "text/html; charset=utf-8"
        case .moduleTypes: "application/typescript; charset=utf-8"
        case .style: "text/css; charset=utf-8"
        case .contract: "application/yaml"
        default: "text/javascript; charset=utf-8"  // all others are modules
        }
    }
}
