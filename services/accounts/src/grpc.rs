//! `rollcall.v1.AccountService`: convert, call, convert.

use rollcall_core::{AccountId, BadName, TokenId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::account_service_server::{AccountService, AccountServiceServer};
use rollcall_store::requests::RequestId;
use tonic::{Request, Response, Status};

use crate::convert::account_change;
use crate::{Accounts, AccountsError, Authenticated, NewAccount, NewToken, Password};

/// The service, to be added to a server.
pub fn service(accounts: Accounts) -> AccountServiceServer<impl AccountService> {
    AccountServiceServer::new(Grpc { accounts })
}

struct Grpc {
    accounts: Accounts,
}

#[tonic::async_trait]
impl AccountService for Grpc {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let request = request.into_inner();
        let request_id = RequestId::parse(&request.request_id).map_err(fault_status)?;
        let new = NewAccount::try_from(request).map_err(status)?;
        let account =
            self.accounts.create_account(new, request_id, UtcInstant::now()).await.map_err(status)?;
        Ok(Response::new((&account).into()))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let id = account_id("name", &request.get_ref().name)?;
        let account = self.accounts.account(id).await.map_err(status)?;
        Ok(Response::new((&account).into()))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let request = request.into_inner();
        let page = self.accounts.list_accounts(request.page_size, &request.page_token).await;
        let page = page.map_err(status)?;
        let accounts = page.items.iter().map(v1::Account::from).collect();
        Ok(Response::new(v1::ListAccountsResponse { accounts, next_page_token: page.next }))
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        let request = request.into_inner();
        let account = request.account.unwrap_or_default();
        let id = account_id("account.name", &account.name)?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let change = account_change(&account, &paths).map_err(status)?;
        let account = self.accounts.update_account(id, change).await.map_err(status)?;
        Ok(Response::new((&account).into()))
    }

    async fn set_password(&self, request: Request<v1::SetPasswordRequest>) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let id = account_id("name", &request.name)?;
        let password = Password::new(request.password).map_err(status)?;
        self.accounts.set_password(id, password).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let maker = caller(&request)?;
        let request = request.into_inner();
        let request_id = RequestId::parse(&request.request_id).map_err(fault_status)?;
        let new = NewToken::try_from(request).map_err(status)?;
        let made = self.accounts.create_token(new, &maker, UtcInstant::now(), request_id).await;
        let made = made.map_err(status)?;
        let secret = made.secret.map(|secret| secret.to_string()).unwrap_or_default();
        Ok(Response::new(v1::CreateTokenResponse { token: Some((&made.token).into()), secret }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let request = request.into_inner();
        let page = self.accounts.list_tokens(request.page_size, &request.page_token).await.map_err(status)?;
        let tokens = page.items.iter().map(v1::Token::from).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens, next_page_token: page.next }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::Token>, Status> {
        let id = TokenId::from_name(&request.get_ref().name).map_err(|error| bad_name("name", &error))?;
        let token = self.accounts.revoke_token(id, UtcInstant::now()).await.map_err(status)?;
        Ok(Response::new((&token).into()))
    }

    async fn get_caller(
        &self,
        request: Request<v1::GetCallerRequest>,
    ) -> Result<Response<v1::Caller>, Status> {
        Ok(Response::new((&caller(&request)?).into()))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Authenticated, Status> {
    request.extensions().get::<Authenticated>().cloned().ok_or_else(|| {
        let fault = rollcall_core::Fault::new(
            rollcall_core::Reason::Internal,
            "the server let a call through without saying whose it is",
        );
        fault_status(fault)
    })
}

fn account_id(field: &'static str, name: &str) -> Result<AccountId, Status> {
    AccountId::from_name(name).map_err(|error| bad_name(field, &error))
}

fn bad_name(field: &'static str, error: &BadName) -> Status {
    status(AccountsError::field(field, format!("is wrong: {error}")))
}

fn status(error: AccountsError) -> Status {
    let fault = error.fault();
    if fault.reason.code().http() >= 500 {
        tracing::error!(%error, "a call of AccountService failed");
    }
    fault_status(fault)
}

fn fault_status(fault: rollcall_core::Fault) -> Status {
    rollcall_proto::status(fault.reason.code().grpc(), fault.message, fault.reason.as_str(), fault.metadata)
}
