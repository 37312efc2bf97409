//! The crate `smb2` alone, used as its documentation shows.

use std::{net::SocketAddr, time::Duration};

use smb2::{
    ClientConfig, SmbClient, Tree,
    client::Connection,
    msg::{
        create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess},
        ioctl::{FSCTL_PIPE_TRANSCEIVE, IoctlRequest, IoctlResponse, SMB2_0_IOCTL_IS_FSCTL},
        read::{ReadRequest, SMB2_CHANNEL_NONE},
        write::WriteRequest,
    },
    pack::{ReadCursor, Unpack},
    types::{Command, FileId, OplockLevel, flags::FileAccessMask},
};
use tokio::runtime::{Builder, Runtime};

/// The offset of the data in a write request.
const WRITE_DATA_OFFSET: u16 = 64 + 48;

/// An open pipe.
pub(crate) struct Bare {
    runtime: Runtime,
    // Owns the session.
    _client: SmbClient,
    connection: Connection,
    tree: Tree,
    file_id: FileId,
}

impl Bare {
    /// Opens a pipe over a signed session. Samba does not encrypt with this client, because the client does not
    /// announce encryption.
    pub(crate) fn open(server: SocketAddr, user: &str, password: &str, name: &str) -> Bare {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let config = ClientConfig {
            addr: server.to_string(),
            timeout: Duration::from_secs(5),
            username: user.to_owned(),
            password: password.to_owned(),
            ..ClientConfig::default()
        };
        let (client, connection, tree, file_id) = runtime.block_on(async {
            let mut client = SmbClient::connect(config).await.unwrap();
            let tree = client.connect_share("IPC$").await.unwrap();
            let connection = client.connection_for(&tree).unwrap();
            let request = CreateRequest {
                requested_oplock_level: OplockLevel::None,
                impersonation_level: ImpersonationLevel::Identification,
                desired_access: FileAccessMask::new(
                    FileAccessMask::FILE_READ_DATA
                        | FileAccessMask::FILE_WRITE_DATA
                        | FileAccessMask::SYNCHRONIZE,
                ),
                file_attributes: 0,
                share_access: ShareAccess(ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_WRITE),
                create_disposition: CreateDisposition::FileOpen,
                create_options: 0,
                name: name.to_owned(),
                create_contexts: Vec::new(),
            };
            let answer = connection.execute(Command::Create, &request, Some(tree.tree_id)).await.unwrap();
            let opened = CreateResponse::unpack(&mut ReadCursor::new(&answer.body)).unwrap();
            (client, connection, tree, opened.file_id)
        });
        Bare { runtime, _client: client, connection, tree, file_id }
    }

    pub(crate) fn transact(&mut self, message: &[u8]) -> Vec<u8> {
        let request = IoctlRequest {
            ctl_code: FSCTL_PIPE_TRANSCEIVE,
            file_id: self.file_id,
            max_input_response: 0,
            max_output_response: 65_536,
            flags: SMB2_0_IOCTL_IS_FSCTL,
            input_data: message.to_vec(),
        };
        let response = self.connection.execute(Command::Ioctl, &request, Some(self.tree.tree_id));
        let answer = self.runtime.block_on(response).unwrap();
        IoctlResponse::unpack(&mut ReadCursor::new(&answer.body)).unwrap().output_data
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        let request = WriteRequest {
            data_offset: WRITE_DATA_OFFSET,
            offset: 0,
            file_id: self.file_id,
            channel: SMB2_CHANNEL_NONE,
            remaining_bytes: 0,
            write_channel_info_offset: 0,
            write_channel_info_length: 0,
            flags: 0,
            data: data.to_vec(),
        };
        let response = self.connection.execute(Command::Write, &request, Some(self.tree.tree_id));
        let answer = self.runtime.block_on(response).unwrap();
        assert_eq!(answer.header.status.0, 0);
    }

    /// Waits for the byte by which the server confirms a round.
    pub(crate) fn read_byte(&mut self) {
        let request = ReadRequest {
            padding: 0x50,
            flags: 0,
            length: 1,
            offset: 0,
            file_id: self.file_id,
            minimum_count: 0,
            channel: SMB2_CHANNEL_NONE,
            remaining_bytes: 0,
            read_channel_info: Vec::new(),
        };
        let response = self.connection.execute(Command::Read, &request, Some(self.tree.tree_id));
        assert_eq!(self.runtime.block_on(response).unwrap().header.status.0, 0);
    }
}
